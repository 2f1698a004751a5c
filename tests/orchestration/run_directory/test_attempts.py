"""The time of a run is that of all its attempts, however each of them ended."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from s1ray.config.recipe import Recipe
from s1ray.orchestration.cluster.session import ROOT
from s1ray.orchestration.run_directory import attempts
from s1ray.orchestration.run_directory.attempts import Attempt, read_attempts, time_attempt
from s1ray.orchestration.run_directory.events import EventLog, read_events
from s1ray.orchestration.run_directory.lease import find_last_sign
from s1ray.orchestration.run_directory.runs import Run, read_manifest
from s1ray.orchestration.stage import name_stage, open_stage
from tests.orchestration.processes import running
from tests.waiting import wait_until

ATTEMPT_SECONDS = 5.0
PAUSE_SECONDS = 100.0

WORK = """
import sys, time
from pathlib import Path
from s1ray.orchestration.run_directory.runs import Run
from s1ray.orchestration.stage import open_stage
from tests.recipes import compose_tiny
path = Path(sys.argv[1])
recipe = compose_tiny(path.parents[1], "lease.heartbeat_seconds=0.1")
with open_stage(Run(name=path.name, stage=path.parent.name, path=path, identity={}), recipe):
    print("begun", flush=True)
    time.sleep(600)
"""


class Clock:
    """Stands still unless a test lets time pass."""

    def __init__(self) -> None:
        self.now = time.time()

    def time(self) -> float:
        return self.now

    monotonic = time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of every attempt of this process."""
    clock = Clock()
    monkeypatch.setattr(attempts, "time", clock)
    return clock


def _name(recipe: Recipe) -> Run:
    return name_stage(recipe, stage="evaluate", slug="made", identity={})


def _finish(run: Run, recipe: Recipe, clock: Clock) -> float:
    """Do a run's last attempt, and return the seconds that its manifest says."""
    with open_stage(run, recipe):
        clock.now += ATTEMPT_SECONDS
    summary: dict[str, float] = (read_manifest(run.path) or {})["summary"]
    described = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    assert described["seconds"] == {"evaluate": summary["seconds"]}
    return summary["seconds"]


def test_attempt_that_failed_is_counted_and_the_pause_behind_it_is_not(
    tiny: Callable[..., Recipe], clock: Clock
) -> None:
    recipe = tiny()
    run = _name(recipe)
    with pytest.raises(RuntimeError), open_stage(run, recipe):
        clock.now += ATTEMPT_SECONDS
        raise RuntimeError
    clock.now += PAUSE_SECONDS

    seconds = _finish(run, recipe, clock)

    assert seconds == 2 * ATTEMPT_SECONDS
    assert [attempt.seconds for attempt in read_attempts(run.path)] == pytest.approx(
        [ATTEMPT_SECONDS, ATTEMPT_SECONDS]
    )


def test_attempt_that_was_killed_is_counted_up_to_the_last_touch_of_its_lease(
    tiny: Callable[..., Recipe], clock: Clock
) -> None:
    recipe = tiny()
    run = _name(recipe)
    words = [sys.executable, "-c", WORK, str(run.path)]
    with running(words, cwd=ROOT, stdout=subprocess.PIPE) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == b"begun\n"
        [begun] = read_attempts(run.path)
        wait_until(lambda: (find_last_sign(run.path) or 0.0) > begun.began + 1)
    touched = find_last_sign(run.path)
    assert touched is not None
    assert read_attempts(run.path) == [replace(begun, seconds=None)]
    clock.now += PAUSE_SECONDS

    seconds = _finish(run, recipe, clock)

    assert seconds == pytest.approx(touched - begun.began + ATTEMPT_SECONDS, abs=0.1)  # as rounded


def test_killed_attempt_without_a_lease_is_counted_up_to_its_last_event(tmp_path: Path) -> None:
    began = time.time() - 100
    open_attempt = {"began": began, "seconds": None}
    (tmp_path / "attempts.json").write_text(json.dumps([open_attempt]), encoding="utf-8")
    with EventLog(tmp_path) as events:
        events.append(1, {"eval/questions_left": 1})
    [event] = read_events(tmp_path)

    with time_attempt(tmp_path, last_heard=None):
        first, second = read_attempts(tmp_path)

    assert first.seconds == event["time"] - began
    assert second.seconds is None


def test_killed_attempt_without_any_sign_of_life_counts_nothing(
    tmp_path: Path, clock: Clock
) -> None:
    (tmp_path / "attempts.json").write_text('[{"began": 5.0, "seconds": null}]', encoding="utf-8")

    with time_attempt(tmp_path, last_heard=None) as attempt:
        clock.now += ATTEMPT_SECONDS
        assert attempt.total_seconds == pytest.approx(ATTEMPT_SECONDS)

    assert read_attempts(tmp_path)[0] == Attempt(began=5.0, seconds=0.0)


def test_run_that_starts_over_forgets_its_attempts(
    tiny: Callable[..., Recipe], clock: Clock
) -> None:
    recipe = tiny()
    run = _name(recipe)
    _finish(run, recipe, clock)

    with open_stage(run, recipe, is_starting_over=True):
        pass

    assert (read_manifest(run.path) or {})["summary"]["seconds"] == 0
