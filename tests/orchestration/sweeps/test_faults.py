"""Sweeps that are hit: the driver killed, a trial's process killed, the dashboard down."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from s1ray.orchestration.cluster.session import ROOT
from s1ray.orchestration.run_directory.events import read_events
from s1ray.orchestration.sweeps.plan import SweepPlan
from s1ray.training.checkpoints.commit import read_manifest
from s1ray.training.checkpoints.search import list_committed
from s1ray.training.fine_tune import CHECKPOINTS
from tests.orchestration.sweeps.sweeping import DATA, axes, plan_sweep
from tests.orchestration.wandb_server import serve_wandb
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
NUM_STEPS = 60


def _overrides(*more: str) -> list[str]:
    return [
        *axes(data=DATA), "sharding=cpu1", "ray.num_cpus=1", "training.num_epochs=null",
        f"training.max_steps={NUM_STEPS}", *more,
    ]  # fmt: skip


def _start(storage: Path, home: Path, *overrides: str, **variables: str) -> "subprocess.Popen[str]":
    command = [
        sys.executable, "-m", "jobs.sweep", "experiment=tiny", f"paths.storage={storage}",
        *overrides,
    ]  # fmt: skip
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "RAY_TMPDIR": str(home),
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
        **variables,
    }
    environment.pop("RAY_ADDRESS", None)
    with (home / "sweep.log").open("a", encoding="utf-8") as log:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=log, text=True
        )


def _wait_for_the_middle(plan: SweepPlan, sweep: "subprocess.Popen[str]", home: Path) -> None:
    log = home / "sweep.log"
    wait_until(lambda: _is_in_the_middle(plan), seconds=500, process=sweep, log=log)


def _finish(sweep: "subprocess.Popen[str]", home: Path) -> None:
    code = sweep.wait(900)
    assert code == 0, (home / "sweep.log").read_text(encoding="utf-8")[-5000:]


def _is_in_the_middle(plan: SweepPlan) -> bool:
    """Whether the second trial trains and has a checkpoint to go on from."""
    first, second = plan.trials
    steps = list(read_events(second.training.run.path))
    return first.run.is_finished and len(steps) > 5


def _check_trials(plan: SweepPlan) -> None:
    for trial in plan.trials:
        steps = [row["global_step"] for row in read_events(trial.training.run.path)]
        assert trial.run.is_finished
        assert steps == list(range(1, NUM_STEPS + 1))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_ended_driver_goes_on_with_the_trial_it_was_in(
    tmp_path: Path, home: Path, number: signal.Signals
) -> None:
    storage = tmp_path / "runs"
    plan = plan_sweep(storage, *_overrides())
    sweep = _start(storage, home, *_overrides())
    _wait_for_the_middle(plan, sweep, home)

    sweep.send_signal(number)
    code = sweep.wait(60)
    first, second = plan.trials
    training = second.training.run
    before = {path: path.stat().st_mtime_ns for path in first.run.path.iterdir()}
    assert not training.is_finished
    if number == signal.SIGTERM:  # it has had time for a checkpoint
        assert code == 128 + number, (home / "sweep.log").read_text(encoding="utf-8")[-5000:]
        [*_, last] = read_events(training.path)
        kept = {read_manifest(path).step for path in list_committed(training.path / CHECKPOINTS)}
        assert last["global_step"] in kept
    _finish(_start(storage, home, *_overrides()), home)

    _check_trials(plan)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    described = json.loads((training.path / "run.json").read_text(encoding="utf-8"))
    assert "checkpoints" in described["resumed_from"]


def test_killed_trial_is_begun_again_and_a_dead_dashboard_costs_nothing(
    tmp_path: Path, home: Path
) -> None:
    storage = tmp_path / "runs"
    overrides = _overrides("tracking.mode=online")
    plan = plan_sweep(storage, *overrides)
    with serve_wandb() as server:
        server.failing = 500
        sweep = _start(
            storage, home, *overrides, WANDB_BASE_URL=server.url, WANDB_API_KEY="0" * 40,
            WANDB_ERROR_REPORTING="false",
        )  # fmt: skip
        _wait_for_the_middle(plan, sweep, home)
        trials = [
            process
            for process in psutil.Process(sweep.pid).children(recursive=True)
            if "Trainable" in " ".join(process.cmdline())
        ]
        assert len(trials) == 1
        trials[0].kill()
        _finish(sweep, home)

    _check_trials(plan)
