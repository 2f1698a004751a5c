"""Where each trial of a sweep stands, read from run directories alone."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from s1ray.orchestration.answering.evaluate import RESULTS
from s1ray.orchestration.dashboard.artifacts import ERROR
from s1ray.orchestration.fine_tune.train_worker import START
from s1ray.orchestration.run_directory.events import EVENTS
from s1ray.orchestration.run_directory.runs import DESCRIPTION
from s1ray.orchestration.sweeps.plan import SweepPlan, TrialPlan
from s1ray.orchestration.sweeps.trial import BEST_ACCURACY, EVALUATED, measure_trial
from s1ray.orchestration.sweeps.tuning import record_stop
from s1ray.orchestration.terminal import LOG_SECONDS, show_table

FINISHED, STOPPED, FAILED, WAITING = "finished", "stopped early", "failed", "waiting"
_TAIL_BYTES = 65536
"""Of an event log; holds its last line many times over."""


def find_state(plan: SweepPlan, trial: TrialPlan) -> str:
    """Return whether a trial is finished, stopped early, failed, or what it is doing."""
    if trial.run.is_finished:
        return FINISHED
    if record_stop(plan, trial).read() is not None:
        return STOPPED
    if (trial.run.path / ERROR).exists():
        return FAILED
    described = read_json(trial.run.path / DESCRIPTION)
    if described.get("steps"):
        return "evaluating"
    training = trial.training.run
    if training.is_finished:
        return "trained"
    return "training" if (training.path / START).exists() else WAITING


def describe_trial(plan: SweepPlan, trial: TrialPlan) -> dict[str, str]:
    """Return a trial's row of the progress table."""
    state = find_state(plan, trial)
    training = trial.training.run.path
    start, row = read_json(training / START), read_last_event(training)
    results = read_json(trial.run.path / RESULTS) if state == FINISHED else None
    metrics = measure_trial(results) if results else {}
    accuracy = metrics.get(BEST_ACCURACY)
    return {
        "trial": trial.label,
        "state": state,
        "step": f"{row['global_step']}/{start.get('num_steps', '?')}" if row else "-",
        "samples": str(int(row["train/samples_consumed"])) if row else "-",
        "loss": f"{row['train/loss_nats_per_token']:.3f}" if row else "-",
        "answers": _count_answers(trial),
        "best %": f"{100 * float(accuracy):.1f}" if accuracy is not None else "-",
    }


def _count_answers(trial: TrialPlan) -> str:
    steps = read_json(trial.run.path / DESCRIPTION).get("steps") or {}
    if EVALUATED not in steps:
        return "-"
    row = read_last_event(trial.run.path / steps[EVALUATED])
    return str(row["global_step"]) if row else "0"


def read_last_event(run_path: Path) -> dict[str, Any]:
    """Return the last whole line of a run's event log; empty where there is none."""
    path = run_path / EVENTS
    if not path.exists():
        return {}
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        lines = file.read().split(b"\n")[:-1]
    return dict(json.loads(lines[-1])) if lines else {}


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON file's object; empty where there is no file."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}


def show_trials(plan: SweepPlan, *, title: str) -> None:
    """Print the table of trials as they stand."""
    show_table(title, [describe_trial(plan, trial) for trial in plan.trials])


@contextmanager
def watch_trials(plan: SweepPlan) -> Iterator[None]:
    """Print the table when a trial's state changes, and now and then, while the block runs."""
    stopped = threading.Event()

    def watch() -> None:
        shown: list[str] = []
        silent = 0.0
        while not stopped.wait(plan.recipe.scheduler.poll_seconds):
            silent += plan.recipe.scheduler.poll_seconds
            states = [find_state(plan, trial) for trial in plan.trials]
            if states != shown or silent >= 4 * LOG_SECONDS:
                shown, silent = states, 0.0
                show_trials(plan, title="trials")

    thread = threading.Thread(target=watch, name="trials", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
