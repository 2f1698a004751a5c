"""Ctrl-C on a real job: the whole foreground group gets SIGINT, as from a terminal."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from s1ray.orchestration.cluster.session import ROOT
from tests.orchestration.processes import list_session
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
DEADLINE_SECONDS = 300
MANY = "benchmark.running_sums.num_questions=200"
"""So many that an interrupt at the first answers comes long before the last."""
NUM_ANSWERS = 200 * 3  # under each of the three budgets of experiment=tiny


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
        process.communicate(timeout=DEADLINE_SECONDS)
        raise AssertionError(f"{pattern!r} never came; it ended with {process.returncode}:\n{seen}")
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=DEADLINE_SECONDS)
    return seen + rest


@pytest.mark.parametrize(
    ("pattern", "override", "kept"),
    [
        ("starting Ray", "training.num_epochs=1", ""),
        (r"train: \d+/", "training.num_epochs=400", "checkpoint"),
        (r"evaluate base: \d+/", MANY, "answers"),
    ],
)
def test_ctrl_c_ends_with_what_was_kept_and_leaves_no_process(
    tmp_path: Path, pattern: str, override: str, kept: str
) -> None:
    process = start(tmp_path, override)

    output = interrupt_at(process, pattern)

    assert process.returncode == 128 + signal.SIGINT, output
    assert "Traceback" not in output
    assert kept in output
    wait_until(lambda: not list_session(process.pid), seconds=DEADLINE_SECONDS)


def test_interrupted_job_goes_on_where_it_stood(tmp_path: Path) -> None:
    first = start(tmp_path, MANY)
    output = interrupt_at(first, r"evaluate trained: \d+/")
    assert first.returncode == 128 + signal.SIGINT, output
    [samples] = tmp_path.glob("evaluate/*-trained-*/samples.jsonl")
    before = samples.read_bytes()
    assert 0 < before.count(b"\n") < NUM_ANSWERS

    again = start(tmp_path, MANY)
    output, _ = again.communicate(timeout=2 * DEADLINE_SECONDS)

    assert again.returncode == 0, output
    assert samples.read_bytes().startswith(before)
    assert samples.read_bytes().count(b"\n") == NUM_ANSWERS
    assert "(finished already)" in output
    assert output.splitlines()[-1].startswith(str(tmp_path / "reproduce"))
