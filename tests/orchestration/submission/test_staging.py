import json
import subprocess
from pathlib import Path

import pytest

from s1ray.orchestration.run_directory.provenance import STAGED_STATE
from s1ray.orchestration.submission.staging import Staging, read_staging, stage

SECRET = "wandb-0123456789abcdef"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout of two committed files, one of them changed since."""
    root = tmp_path / "checkout"
    (root / "conf").mkdir(parents=True)
    (root / "code.py").write_text("a = 1\n")
    (root / "conf" / "a.yaml").write_text("a: 1\n")
    (root / ".gitignore").write_text("runs/\n")
    _git(root, "init", "--quiet")
    _git(root, "add", "-A")
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    _git(root, *author, "commit", "--quiet", "-m", "Begin")
    (root / "code.py").write_text("a = 2\n")
    return root


def _git(root: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True)


def _read(root: Path, *, limit: float = 1.0) -> Staging:
    return read_staging(root, size_limit_mib=limit, num_named=10, secrets=[SECRET])


def test_tracked_files_are_staged_as_they_stand_and_no_others(
    checkout: Path, tmp_path: Path
) -> None:
    (checkout / "runs").mkdir()
    (checkout / "runs" / "model.bin").write_bytes(b"x" * 100)
    (checkout / "new.py").write_text("b = 1\n")
    (checkout / "conf" / "a.yaml").unlink()
    target = tmp_path / "staged"
    target.mkdir()

    staging = _read(checkout)
    stage(staging, target)

    files = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert files == {"code.py", ".gitignore", STAGED_STATE}
    assert (target / "code.py").read_text() == "a = 2\n"
    assert staging.left_behind == ("new.py",)
    assert staging.num_bytes == len("a = 2\n") + len("runs/\n")


def test_the_staged_directory_says_which_commit_it_is_of(checkout: Path, tmp_path: Path) -> None:
    target = tmp_path / "staged"
    target.mkdir()

    staging = _read(checkout)
    stage(staging, target)

    assert json.loads((target / STAGED_STATE).read_text()) == staging.git
    head = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert staging.git["sha"] == head.stdout.strip()
    assert "+a = 2" in (staging.git["dirty"] or "")


def test_too_many_bytes_are_refused_and_the_ten_largest_named(checkout: Path) -> None:
    for number in range(12):
        (checkout / f"data{number:02}.bin").write_bytes(b"x" * 1000 * (number + 1))
    _git(checkout, "add", "-A")

    with pytest.raises(ValueError, match=r"size_limit_mib=0\.05") as refused:
        _read(checkout, limit=0.05)

    named = [line.split()[-1] for line in str(refused.value).splitlines()[1:]]
    assert named == [f"data{number:02}.bin" for number in range(11, 1, -1)]


def test_a_secret_in_a_tracked_file_is_refused_by_the_files_name(checkout: Path) -> None:
    (checkout / "conf" / "a.yaml").write_text(f"key: {SECRET}\n")

    with pytest.raises(ValueError, match=r"conf/a\.yaml") as refused:
        _read(checkout)

    assert SECRET not in str(refused.value)


def test_a_link_out_of_the_checkout_is_refused(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("private")
    (checkout / "link.txt").symlink_to(tmp_path / "outside.txt")
    _git(checkout, "add", "-A")

    with pytest.raises(ValueError, match=r"link\.txt links to"):
        _read(checkout)


def test_a_directory_without_git_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no git checkout"):
        _read(tmp_path)
