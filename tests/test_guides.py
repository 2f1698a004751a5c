"""The guides of ARCHITECTURE.md, run as they are printed, in a copy of the checkout."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from s1ray.orchestration.cluster.session import ROOT

pytestmark = pytest.mark.slow


def read_guides() -> dict[str, str]:
    """Return the shell blocks of each guide by its title."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = re.search(r"^## Guides\n(.*?)(?=^## )", text, flags=re.M | re.S)
    assert section is not None
    parts = re.split(r"^### (.*)\n", section[1], flags=re.M)[1:]
    guides = dict(zip(parts[::2], parts[1::2], strict=True))
    return {
        title: "\n".join(re.findall(r"^```bash\n(.*?)^```", body, flags=re.M | re.S))
        for title, body in guides.items()
    }


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of what is tracked, so that guides may write into conf/."""
    copy = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if not name.startswith("tests/") and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "copy"]):
        subprocess.run([*git, *words], cwd=copy, check=True)
    yield copy
    shutil.rmtree(copy)


@pytest.mark.parametrize("title", sorted(read_guides()))
def test_guide_runs_as_printed(checkout: Path, title: str) -> None:
    python = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{python}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(checkout),
    }
    script = read_guides()[title]
    assert script

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
