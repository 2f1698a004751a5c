"""Ctrl-C on a real job: the whole foreground group gets SIGINT, as from a terminal."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from s1ray.orchestration.cluster.session import ROOT
from tests.orchestration.processes import list_session

pytestmark = pytest.mark.slow
DEADLINE_SECONDS = 300


def start(storage: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jobs.reproduce", "experiment=tiny"]
    return subprocess.Popen(
        [*command, f"paths.storage={storage}", *overrides],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def interrupt_at(process: subprocess.Popen[str], pattern: str) -> str:
    """Wait for a line of output, send SIGINT to the group, and return all of the output."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if re.search(pattern, line):
            break
    else:
        process.communicate()
        raise AssertionError(f"{pattern!r} never came; it ended with {process.returncode}:\n{seen}")
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=DEADLINE_SECONDS)
    return seen + rest


@pytest.mark.parametrize(
    ("pattern", "num_epochs", "kept"),
    [
        ("starting Ray", 1, ""),
        (r"train: \d+/", 400, "checkpoint"),
        (r"evaluate base: \d+/", 1, "answers"),
    ],
)
def test_ctrl_c_ends_with_what_was_kept_and_leaves_no_process(
    tmp_path: Path, pattern: str, num_epochs: int, kept: str
) -> None:
    process = start(tmp_path, f"training.num_epochs={num_epochs}")

    output = interrupt_at(process, pattern)

    assert process.returncode == 128 + signal.SIGINT, output
    assert "Traceback" not in output
    assert kept in output
    deadline = time.monotonic() + DEADLINE_SECONDS
    while list_session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list_session(process.pid) == []


def test_interrupted_job_goes_on_where_it_stood(tmp_path: Path) -> None:
    interrupt_at(start(tmp_path), r"evaluate trained: \d+/")

    again = start(tmp_path)
    output, _ = again.communicate(timeout=2 * DEADLINE_SECONDS)

    assert again.returncode == 0, output
    assert "(finished already)" in output
    assert output.splitlines()[-1].startswith(str(tmp_path / "reproduce"))
