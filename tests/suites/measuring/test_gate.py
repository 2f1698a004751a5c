"""Programs take a step when they are told to; one that ends is named with what it printed."""

import os
import sys
from pathlib import Path

import pytest

from s1ray.suites.measuring.gate import Program, open_gate

COUNTER = """
import os
from s1ray.suites.measuring.gate import Gate
gate, count = Gate(os.environ["S1RAY_GATE"], name=os.environ["S1RAY_SIDE"]), 0
while gate.wait():
    count += 1
    gate.report({"count": count, "by": os.environ["S1RAY_SIDE"]})
"""


def program(script: str) -> Program:
    return Program(
        command=[sys.executable, "-c", script], environment=dict(os.environ), num_processes=1
    )


def test_sides_take_turns(tmp_path: Path) -> None:
    programs = {"first": program(COUNTER), "second": program(COUNTER)}

    with open_gate(programs, directory=tmp_path, start_seconds=60) as sides:
        answers = [sides[name].step() for name in ("first", "second", "first")]

    assert [(answer["by"], answer["count"]) for answer in answers] == [
        ("first", 1),
        ("second", 1),
        ("first", 2),
    ]
    assert [side.process.returncode for side in sides.values()] == [0, 0]


def test_side_that_does_not_start_is_named_with_its_words(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match=r"broken ended early(.|\n)*no module here"),
        open_gate(
            {"broken": program("raise SystemExit('no module here')")},
            directory=tmp_path,
            start_seconds=60,
        ),
    ):
        pass


def test_side_that_ends_in_a_step_is_named_with_its_words(tmp_path: Path) -> None:
    script = COUNTER.replace("count += 1", "raise SystemExit('out of memory')")

    with (
        open_gate({"greedy": program(script)}, directory=tmp_path, start_seconds=60) as sides,
        pytest.raises(RuntimeError, match=r"greedy ended early(.|\n)*out of memory"),
    ):
        sides["greedy"].step()
