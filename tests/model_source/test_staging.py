"""Directories appear whole or not at all, whoever is killed and whatever is full."""

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from s1ray.model_source.staging import build_once, is_disk_full, staged_directory
from tests.fakes import full_disk, tiny_shape
from tests.model_source.sources import resolve

REPOSITORY = Path(__file__).parents[2]


def test_disk_full_in_conversion_leaves_nothing_and_says_disk(tmp_path: Path) -> None:
    with full_disk(limit_bytes=65536), pytest.raises(OSError, match="the disk is full") as caught:
        resolve("random:qwen2", tmp_path, random=tiny_shape())
    assert caught.value.errno == errno.ENOSPC
    assert "Free some space" in str(caught.value)
    assert [path.suffix for path in (tmp_path / "random").iterdir()] == [".lock"]


def test_disk_full_is_told_from_other_errors() -> None:
    assert is_disk_full(OSError(errno.ENOSPC, "x"))
    assert is_disk_full(RuntimeError("I/O error: No space left on device (os error 28)"))
    wrapped = RuntimeError("write failed")
    wrapped.__cause__ = OSError(errno.EDQUOT, "x")
    assert is_disk_full(wrapped)
    assert not is_disk_full(OSError(errno.EACCES, "x"))
    assert not is_disk_full(ValueError("28"))


def test_staged_directory_on_error_keeps_the_old_target(tmp_path: Path) -> None:
    target = tmp_path / "export"
    target.mkdir()
    (target / "old").write_text("old", encoding="utf-8")
    with pytest.raises(RuntimeError), staged_directory(target, is_replacing=True) as staging:
        (staging / "new").write_text("new", encoding="utf-8")
        raise RuntimeError
    assert (target / "old").read_text(encoding="utf-8") == "old"
    with staged_directory(target, is_replacing=True) as staging:
        (staging / "new").write_text("new", encoding="utf-8")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def stage_elsewhere(target: Path) -> subprocess.Popen[str]:
    """Return another process that has begun to write a target and waits."""
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from s1ray.model_source.staging import staged_directory
        with staged_directory(Path(sys.argv[1]), is_replacing=True) as staging:
            (staging / "weights").write_text("half")
            print(staging, flush=True)
            sys.stdin.read()
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(target)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip()
    return process


def test_staged_directory_removes_what_a_killed_writer_of_its_target_left(tmp_path: Path) -> None:
    target, other = tmp_path / "export", tmp_path / "export.v2"
    for killed in (target, other):
        with stage_elsewhere(killed) as process:
            process.kill()
    assert len(list(tmp_path.iterdir())) == 2

    with stage_elsewhere(target) as living:
        with staged_directory(target, is_replacing=True) as staging:
            (staging / "weights").write_text("whole", encoding="utf-8")
        left = {path.name for path in tmp_path.glob(".export.*") if path.name[8].isdigit()}
        living.kill()

    assert left == {f".export.{living.pid}.partial"}
    assert len(list(tmp_path.glob(".export.v2.*.partial"))) == 1
    assert (target / "weights").read_text(encoding="utf-8") == "whole"


def test_staged_directory_puts_back_what_a_writer_killed_in_mid_replacement_moved(
    tmp_path: Path,
) -> None:
    target = tmp_path / "export"
    moved = tmp_path / ".export.4194305.old"  # one more than the largest process number
    moved.mkdir()
    (moved / "old").write_text("old", encoding="utf-8")

    with staged_directory(target, is_replacing=True) as staging:
        assert (target / "old").exists()
        (staging / "new").write_text("new", encoding="utf-8")

    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_staged_directory_that_cannot_be_moved_keeps_the_old_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, rename = tmp_path / "export", Path.rename
    target.mkdir()
    (target / "old").write_text("old", encoding="utf-8")

    def fail_for_staging(path: Path, name: Path) -> Path:
        if path.suffix == ".partial":
            raise OSError(errno.EIO, "lost")
        return rename(path, name)

    monkeypatch.setattr(Path, "rename", fail_for_staging)
    with pytest.raises(OSError, match="lost"), staged_directory(target, is_replacing=True):
        pass

    assert [path.name for path in target.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_staged_directory_is_there_even_where_the_old_target_cannot_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "export"
    target.mkdir()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EBUSY, "busy")

    with monkeypatch.context() as patched:
        patched.setattr(os, "rmdir", refuse)
        with staged_directory(target, is_replacing=True) as staging:
            (staging / "new").write_text("new", encoding="utf-8")

    assert [path.name for path in target.iterdir()] == ["new"]


def test_build_once_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    left_over = tmp_path / ".model.1.partial"
    left_over.mkdir()
    (left_over / "weights").write_bytes(b"half")
    target = build_once(
        tmp_path / "model", lambda d: (d / "weights").write_bytes(b"whole"), on_progress=print
    )
    assert (target / "weights").read_bytes() == b"whole"
    assert not left_over.exists()


def test_build_once_two_processes_build_it_once(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from s1ray.model_source.staging import build_once
        root = Path(sys.argv[1])
        def build(directory):
            with (root / "builds").open("a") as log:
                log.write("x")
            time.sleep(0.5)
            (directory / "weights").write_text("whole")
        print((build_once(root / "model", build, on_progress=print) / "weights").read_text())
        """
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    said = [process.communicate()[0].splitlines()[-1] for process in processes]
    assert said == ["whole"] * 3
    assert (tmp_path / "builds").read_text(encoding="utf-8") == "x"
