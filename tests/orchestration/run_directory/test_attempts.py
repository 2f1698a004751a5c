"""The time of a run is that of all its attempts, however each of them ended."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from s1ray.config.recipe import Recipe
from s1ray.orchestration.cluster.session import ROOT
from s1ray.orchestration.run_directory.attempts import Attempt, read_attempts, time_attempt
from s1ray.orchestration.run_directory.events import EventLog
from s1ray.orchestration.run_directory.runs import Run, read_manifest
from s1ray.orchestration.stage import name_stage, open_stage

ATTEMPT_SECONDS = 1.0

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


def _name(recipe: Recipe) -> Run:
    return name_stage(recipe, stage="evaluate", slug="made", identity={})


def _finish(run: Run, recipe: Recipe) -> float:
    """Do a run's last attempt, and return the seconds that its manifest says."""
    with open_stage(run, recipe):
        time.sleep(ATTEMPT_SECONDS)
    summary: dict[str, float] = (read_manifest(run.path) or {})["summary"]
    described = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    assert described["seconds"] == {"evaluate": summary["seconds"]}
    return summary["seconds"]


def test_attempt_that_failed_is_counted_and_the_pause_behind_it_is_not(
    tiny: Callable[..., Recipe],
) -> None:
    recipe = tiny()
    run = _name(recipe)
    with pytest.raises(RuntimeError), open_stage(run, recipe):
        time.sleep(ATTEMPT_SECONDS)
        raise RuntimeError
    time.sleep(ATTEMPT_SECONDS)

    seconds = _finish(run, recipe)

    assert 2 * ATTEMPT_SECONDS <= seconds < 3 * ATTEMPT_SECONDS
    assert [attempt.seconds is not None for attempt in read_attempts(run.path)] == [True, True]


def test_attempt_that_was_killed_is_counted_up_to_the_last_touch_of_its_lease(
    tiny: Callable[..., Recipe],
) -> None:
    recipe = tiny()
    run = _name(recipe)
    with subprocess.Popen(
        [sys.executable, "-c", WORK, str(run.path)], cwd=ROOT, stdout=subprocess.PIPE
    ) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == b"begun\n"
        time.sleep(2 * ATTEMPT_SECONDS)
        job.kill()
    [killed] = read_attempts(run.path)
    assert killed.seconds is None
    time.sleep(ATTEMPT_SECONDS)

    seconds = _finish(run, recipe)

    assert 2.5 * ATTEMPT_SECONDS <= seconds < 4 * ATTEMPT_SECONDS


def test_killed_attempt_without_a_lease_is_counted_up_to_its_last_event(tmp_path: Path) -> None:
    began = time.time() - 100
    open_attempt = {"began": began, "seconds": None}
    (tmp_path / "attempts.json").write_text(json.dumps([open_attempt]), encoding="utf-8")
    with EventLog(tmp_path) as events:
        events.append(1, {"eval/questions_left": 1})

    with time_attempt(tmp_path, last_heard=None):
        first, second = read_attempts(tmp_path)

    assert first.seconds == pytest.approx(100, abs=2)
    assert second.seconds is None


def test_killed_attempt_without_any_sign_of_life_counts_nothing(tmp_path: Path) -> None:
    (tmp_path / "attempts.json").write_text('[{"began": 5.0, "seconds": null}]', encoding="utf-8")

    with time_attempt(tmp_path, last_heard=None) as clock:
        assert clock.total_seconds < 1

    assert read_attempts(tmp_path)[0] == Attempt(began=5.0, seconds=0.0)


def test_run_that_starts_over_forgets_its_attempts(tiny: Callable[..., Recipe]) -> None:
    recipe = tiny()
    run = _name(recipe)
    _finish(run, recipe)

    with open_stage(run, recipe, is_starting_over=True):
        pass

    assert (read_manifest(run.path) or {})["summary"]["seconds"] < ATTEMPT_SECONDS
