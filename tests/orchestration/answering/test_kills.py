"""Evaluations on a real Serve: nothing is lost or doubled when a part of them is killed."""

import json
import subprocess
import sys
import threading
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import ray
from ray import serve

from s1ray.orchestration.answering.evaluation import run_evaluation
from s1ray.orchestration.cluster.session import ROOT
from s1ray.orchestration.dashboard.sink import LOCK
from s1ray.orchestration.run_directory.attempts import read_attempts
from s1ray.orchestration.run_directory.events import read_events
from s1ray.suites.evaluation.journal import find_replicas, note_in
from s1ray.suites.evaluation.record import is_event, read_history
from tests.orchestration.answering.evaluations import (
    NUM_POLICIES,
    Tiny,
    assert_every_sample_once,
    plan_tiny,
    read_completions,
)
from tests.orchestration.processes import count_lines, kill, running
from tests.waiting import wait_until


def _questions(count: int) -> str:
    return f"benchmark.running_sums.num_questions={count}"


@pytest.mark.slow
@pytest.mark.usefixtures("ray_head")
def test_replica_killed_in_the_middle_costs_no_sample_and_changes_none(
    tiny: Tiny, tmp_path: Path
) -> None:
    settings = [
        _questions(100), "serving.num_replicas=2", "serving.groups_per_replica=4",
        "serving.health_check_seconds=1",
    ]  # fmt: skip
    whole = plan_tiny(tiny(*settings, storage=tmp_path / "whole"))
    run_evaluation(whole)
    plan = plan_tiny(tiny(*settings, storage=tmp_path / "killed"))
    journal, killed = tmp_path / "journal", list[int]()

    def kill_one() -> None:
        wait_until(lambda: count_lines(plan.run.path / "samples.jsonl") >= 60)
        killed.append(find_replicas(journal)[0])
        kill(killed[0])

    killer = threading.Thread(target=kill_one)
    killer.start()
    run_evaluation(plan, replica=note_in(journal))
    killer.join()

    assert len(killed) == 1
    assert_every_sample_once(plan)
    assert read_completions(plan.run.path) == read_completions(whole.run.path)


def _evaluate(storage: Path, *overrides: str) -> "AbstractContextManager[subprocess.Popen[bytes]]":
    command = [
        sys.executable, "-m", "jobs.evaluate", "experiment=tiny", f"paths.storage={storage}",
        *overrides,
    ]  # fmt: skip
    return running(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_driver_killed_at_80_percent_goes_on_with_the_rest_and_its_sink_too(
    tiny: Tiny, tmp_path: Path
) -> None:
    overrides = (_questions(200), "tracking.mode=offline")
    plan = plan_tiny(tiny(*overrides, storage=tmp_path))
    samples, total = plan.run.path / "samples.jsonl", 200 * NUM_POLICIES

    with _evaluate(tmp_path, *overrides) as job:
        wait_until(lambda: count_lines(samples) >= total * 0.4, process=job)
        kill(int((plan.run.path / LOCK).read_text(encoding="utf-8")))
        wait_until(lambda: count_lines(samples) >= total * 0.8, process=job)
    before, num_events = samples.read_bytes(), count_lines(plan.run.path / "events.jsonl")
    assert before.count(b"\n") < total
    with _evaluate(tmp_path, *overrides) as job:
        assert job.wait() == 0

    assert samples.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    assert_every_sample_once(plan)
    [record] = plan.run.path.glob("wandb/offline-run-*/run-*.wandb")
    rows = read_history(record)
    steps = [row["global_step"] for row in rows if is_event(row)]
    assert steps == list(range(1, total + 1))
    tables = [row["samples.nrows"] for row in rows if not is_event(row)]
    assert sum(tables) == total
    _assert_both_attempts_are_paid(plan.run.path, num_events=num_events)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_head")
def test_job_killed_on_a_ray_that_lives_on_leaves_no_replica_there(
    tiny: Tiny, tmp_path: Path
) -> None:
    plan = plan_tiny(tiny(_questions(2000), storage=tmp_path))
    address = ray.get_runtime_context().gcs_address

    with _evaluate(
        tmp_path, _questions(2000), f"ray.address={address}", "serving.health_check_seconds=1"
    ) as job:
        wait_until(lambda: count_lines(plan.run.path / "samples.jsonl") > 0, process=job)
        assert plan.run.name in serve.status().applications

    wait_until(lambda: plan.run.name not in serve.status().applications)


def _assert_both_attempts_are_paid(path: Path, *, num_events: int) -> None:
    """A killed attempt costs at least the time between its first event and its last."""
    killed, last = (attempt.seconds or 0.0 for attempt in read_attempts(path))
    times = [row["time"] for row in read_events(path)]
    assert killed >= times[num_events - 1] - times[0]
    results = json.loads((path / "results.json").read_text(encoding="utf-8"))
    assert results["cost"]["seconds"] == pytest.approx(killed + last, abs=0.5)
