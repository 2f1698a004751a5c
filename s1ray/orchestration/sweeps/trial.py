"""One trial: train where nobody has yet, evaluate at every budget, leave the numbers.

A trial waits for a step that another trial or job is doing, instead of doing it twice. It knows
neither Tune nor the other trials.
"""

import os
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from s1ray.orchestration.answering.evaluate import RESULTS, gather_results, plan_trained
from s1ray.orchestration.answering.evaluation import EvaluationPlan, run_evaluation
from s1ray.orchestration.cluster.secrets_at_hand import redact_at_hand
from s1ray.orchestration.dashboard.artifacts import ERROR
from s1ray.orchestration.dashboard.sink import RUN_ID
from s1ray.orchestration.dashboard.tracking import is_replay_due
from s1ray.orchestration.fine_tune.train import run_train
from s1ray.orchestration.reproduce import describe_stages
from s1ray.orchestration.run_directory.events import EventLog
from s1ray.orchestration.run_directory.runs import (
    HeldError,
    update_description,
    write_atomically,
    write_json,
)
from s1ray.orchestration.stage import open_stage, show_finished, track_stage
from s1ray.orchestration.sweeps.plan import TrialPlan
from s1ray.orchestration.terminal import say

EVALUATED = "trained"
"""The step of a trial that is its evaluation."""
BEST_ACCURACY = "trial/best_accuracy"
"""Of a trial: the mean over its benchmarks of the best budget's accuracy."""
OutcomeT = TypeVar("OutcomeT")
IsStopping = Callable[[], bool]


def run_trial(plan: TrialPlan, *, is_stopping: IsStopping, on_trained: Callable[[], None]) -> None:
    """Do what is missing of a trial; an error's traceback is in ``error.txt`` before it is raised.

    Args:
        plan: Of the trial.
        is_stopping: Whether waiting is to end.
        on_trained: Called once its training is finished.

    Raises:
        RuntimeError: A stage failed, or a step was held by somebody else for too long.
        SystemExit: Its training was asked to stop, and stopped with a checkpoint.
    """
    if plan.run.is_finished:
        on_trained()
        _show_again(plan)
        return
    error = plan.run.path / ERROR
    error.unlink(missing_ok=True)
    try:
        wait_while_held(plan, lambda: _run(plan, on_trained, is_stopping), is_stopping=is_stopping)
    except Exception:
        plan.run.path.mkdir(parents=True, exist_ok=True)
        write_atomically(error, redact_at_hand(traceback.format_exc()))
        raise


def _show_again(plan: TrialPlan) -> None:
    """Replay a finished trial to W&B where that is due, and always where an agent began it."""
    recipe, tracking = plan.recipe, plan.recipe.tracking
    if RUN_ID in os.environ:
        with track_stage(plan.run, recipe):
            say(f"{plan.label}: finished already")
    elif is_replay_due(plan.run.path, tracking):
        trained = run_train(plan.training)
        run_evaluation(plan_trained(recipe, trained, base=plan.training.model))
        show_finished(plan.run, recipe)


def wait_while_held(
    plan: TrialPlan, step: Callable[[], OutcomeT], *, is_stopping: IsStopping
) -> OutcomeT:
    """Do a step as soon as nobody else is doing it.

    Raises:
        RuntimeError: It was held for longer than ``scheduler.wait_seconds``.
        SystemExit: The trial was asked to stop while it waited.
    """
    settings = plan.recipe.scheduler
    deadline = time.monotonic() + settings.wait_seconds
    while True:
        try:
            return step()
        except HeldError as error:
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"{error} It was waited for {settings.wait_seconds:.0f} s "
                    "(scheduler.wait_seconds)."
                ) from error
        if is_stopping():
            raise SystemExit
        time.sleep(settings.poll_seconds)


def _run(plan: TrialPlan, on_trained: Callable[[], None], is_stopping: IsStopping) -> None:
    run, training = plan.run, plan.training
    with open_stage(run, plan.recipe) as stage:
        train_path = wait_while_held(plan, lambda: run_train(training), is_stopping=is_stopping)
        on_trained()
        evaluation = plan_trained(plan.recipe, train_path, base=training.model)
        update_description(run, steps={EVALUATED: str(evaluation.run.path)})
        wait_while_held(plan, lambda: run_evaluation(evaluation), is_stopping=is_stopping)
        results = gather_results([evaluation])
        write_json(run.path / RESULTS, results)
        with EventLog(run.path) as events:
            events.append(1, measure_trial(results))
        stage.files.append(RESULTS)
        stage.description |= describe_stages(run, list_stages(plan, evaluation))
    say(f"{plan.label}: finished")


def list_stages(plan: TrialPlan, evaluation: EvaluationPlan) -> dict[str, Path]:
    """Return the run directories of a finished trial's steps."""
    curation = plan.training.curation
    return {
        **({"curate": curation.run.path} if curation else {}),
        "train": plan.training.run.path,
        EVALUATED: evaluation.run.path,
    }


def measure_trial(results: Mapping[str, Any]) -> dict[str, float | str | None]:
    """Return a trial's numbers as its dashboard shows them, from its ``results.json``."""
    metrics: dict[str, float | str | None] = {}
    best: dict[str, float] = {}
    for point in results["points"]:
        name = f"trial/{point['benchmark']}/{point['policy']}"
        metrics[f"{name}/accuracy"] = point["accuracy"]
        metrics[f"{name}/thinking_tokens"] = point["thinking_tokens"]
        if point["accuracy"] is not None:
            benchmark = point["benchmark"]
            best[benchmark] = max(best.get(benchmark, 0.0), point["accuracy"])
    for benchmark, accuracy in best.items():
        metrics[f"trial/{benchmark}/best_accuracy"] = accuracy
    if best:
        metrics[BEST_ACCURACY] = sum(best.values()) / len(best)
    metrics["trial/generated_tokens"] = results["cost"]["generated_tokens"]
    return metrics
