"""Trials on Ray Tune: as many at a time as the cluster holds, stopped early where that is asked.

SIGTERM and Ctrl-C stop all of them, those that train with a checkpoint.

Tune schedules and restarts; it keeps no state that is needed again. Its pickles are never read:
where a sweep stands follows from the trials' own manifests, and what was stopped from a file each.
"""

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import ray
from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, PlacementGroupFactory, RunConfig
from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    TrialScheduler,
)
from ray.tune.stopper import Stopper

from s1ray.config.recipe import Recipe
from s1ray.config.search import AshaConfig, MedianConfig, SchedulerConfig
from s1ray.orchestration.answering.serve import start_serve
from s1ray.orchestration.cluster.room import count_places
from s1ray.orchestration.fine_tune.placement import free_awaited
from s1ray.orchestration.fine_tune.stopping import StopRequest, stop_on_signals
from s1ray.orchestration.run_directory.provenance import COMMAND
from s1ray.orchestration.run_directory.runs import RefusedError
from s1ray.orchestration.sweeps.following import FollowedTrial, Report, StopRecord
from s1ray.orchestration.sweeps.plan import SweepPlan, TrialPlan

_TUNE_FILES = "ray"
_TRIAL = "trial"
_DONE = "done"
_ENDED = "ended"
"""Whether a trial ended by itself; Tune sets its own word for both kinds of end."""


class TrialActor(tune.Trainable):
    """The process of one trial after the other; everything happens in ``FollowedTrial``."""

    def setup(self, config: Mapping[str, Any], plan: SweepPlan) -> None:  # type: ignore[override]
        """Begin a trial, or go on with it."""
        os.environ |= plan.agent
        self._plan = plan
        self._begin(config)

    def _begin(self, config: Mapping[str, Any]) -> None:
        trial = self._plan.trials[config[_TRIAL]]
        os.environ[COMMAND] = trial.spell_command(self._plan.overrides)
        self._followed = FollowedTrial(trial, stopped=record_stop(self._plan, trial))

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Return True: the trial before is ended, and the next one begins in the same process."""
        self._followed.stop()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Return the next report. A trial that failed has told so in its own directory."""
        report = self._followed.next_report()
        has_ended = report is None
        return {**asdict(report or self._followed.last), _DONE: has_ended, _ENDED: has_ended}

    def cleanup(self) -> None:
        """Stop with a checkpoint what is still being trained."""
        self._followed.stop()


class StopRecorder(tune.Callback):
    """Keeps which trials the scheduler ended before they were done."""

    def __init__(self, plan: SweepPlan) -> None:
        """Record for this sweep."""
        self._plan = plan

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Write the record of a trial that Tune stopped; called before its process hears of it."""
        result = trial.last_result
        if not result[_ENDED]:
            stopped = record_stop(self._plan, self._plan.trials[trial.config[_TRIAL]])
            stopped.write(Report(tokens=result["tokens"], loss=result["loss"]))


class StopOnRequest(Stopper):
    """Ends all trials as soon as somebody asked for it."""

    def __init__(self, request: StopRequest) -> None:
        """Look at this request."""
        self._request = request

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Return False: no trial ends alone."""
        return False

    def stop_all(self) -> bool:
        """Whether it was asked; Tune wants to know many times a second."""
        return self._request.signal is not None


def record_stop(plan: SweepPlan, trial: TrialPlan) -> StopRecord:
    """Return where it stands whether a trial of this sweep was stopped early."""
    return StopRecord(path=plan.stopped_path / f"{trial.run.name}.json")


def tune_trials(plan: SweepPlan) -> int | None:
    """Run every trial that is neither finished nor stopped, on the Ray that is connected.

    A trial's process asks for one byte of memory and nothing else: what it runs asks for its own
    processors, and would wait for ever for those that its own trial held.

    Returns:
        The signal that ended it before the trials were done; None where they are.

    Raises:
        RefusedError: Not even one trial fits the cluster.
    """
    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    num_concurrent = count_concurrent([trial.recipe for trial in plan.trials], resources)
    # A trial's process lies in a placement group that Serve's controller would not fit into.
    start_serve()
    # Tune's chdir would turn relative paths of the configuration into others.
    os.environ |= {
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it would not say that there was a signal
    }
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    with stop_on_signals(lambda: None, has_begun=lambda: True) as request:
        _build_tuner(plan, num_concurrent, stopper=StopOnRequest(request)).fit()
    if request.signal is not None:
        free_awaited()
    return request.signal


def _build_tuner(plan: SweepPlan, num_concurrent: int, *, stopper: Stopper) -> tune.Tuner:
    storage = plan.run.path / _TUNE_FILES
    shutil.rmtree(storage, ignore_errors=True)
    settings = plan.recipe.scheduler
    trainable = tune.with_resources(
        tune.with_parameters(TrialActor, plan=plan), PlacementGroupFactory([{"memory": 1}])
    )
    return tune.Tuner(
        trainable,
        param_space={_TRIAL: tune.grid_search(list(range(len(plan.trials))))},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            scheduler=build_scheduler(settings),
            reuse_actors=True,  # a process of its own costs each trial seconds of imports
            max_concurrent_trials=min(num_concurrent, settings.max_concurrent or num_concurrent),
        ),
        run_config=RunConfig(
            name=plan.run.name,
            storage_path=str(storage),
            stop=stopper,
            failure_config=FailureConfig(max_failures=settings.max_failures),
            checkpoint_config=CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            callbacks=[StopRecorder(plan)],
            verbose=0,
        ),
    )


def build_scheduler(config: SchedulerConfig) -> TrialScheduler:
    """Return Tune's scheduler; time is counted in training tokens."""
    match config:
        case AshaConfig():
            return ASHAScheduler(
                time_attr="tokens",
                max_t=config.max_tokens,
                grace_period=config.grace_tokens,
                reduction_factor=config.reduction_factor,
                stop_last_trials=False,  # what comes last is evaluated
            )
        case MedianConfig():
            return MedianStoppingRule(
                time_attr="tokens",
                grace_period=config.grace_tokens,
                min_samples_required=config.min_trials,
            )
        case _:
            return FIFOScheduler()  # type: ignore[no-untyped-call]


def count_concurrent(recipes: Sequence[Recipe], resources: Mapping[str, float]) -> int:
    """Return how many trials the cluster holds at once, by the largest need of any.

    Raises:
        RefusedError: Not one.
    """
    need: dict[str, float] = {}
    for recipe in recipes:
        for stage in (_need_of_training(recipe), _need_of_evaluation(recipe)):
            need = {key: max(need.get(key, 0), stage.get(key, 0)) for key in need | stage}
    count = count_places({key: amount for key, amount in need.items() if amount}, resources)
    if count < 1:
        raise RefusedError(
            f"a trial needs {need} and the cluster has "
            f"{ {key: resources.get(key, 0) for key in need} }. Lower sharding.num_workers, "
            "ray.worker_cpus, serving.num_replicas or serving.num_cpus, or use a larger cluster."
        )
    return count


def _need_of_training(recipe: Recipe) -> dict[str, float]:
    workers = recipe.sharding.num_workers
    gpus = workers if recipe.sharding.device == "cuda" else 0
    return {"CPU": workers * recipe.ray.worker_cpus, "GPU": gpus}


def _need_of_evaluation(recipe: Recipe) -> dict[str, float]:
    serving = recipe.serving
    return {
        "CPU": serving.num_replicas * serving.num_cpus,
        "GPU": serving.num_replicas * serving.num_gpus,
    }
