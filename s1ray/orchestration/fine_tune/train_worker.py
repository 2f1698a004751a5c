"""What one Ray Train worker does: the plain ``fine_tune``; rank 0 writes the run's records.

It does not know how workers are started or how often.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import ray.train
import torch
import torch.distributed as dist

from s1ray.config.planning import ClusterConfig
from s1ray.config.training import ShardingConfig
from s1ray.curation.traces import read_traces
from s1ray.orchestration.fine_tune.energy import EnergyMeter, open_counter
from s1ray.orchestration.fine_tune.outcome import Outcome, read_outcome, write_outcome
from s1ray.orchestration.fine_tune.placement import note_placement
from s1ray.orchestration.fine_tune.spending import Spending
from s1ray.orchestration.fine_tune.stopping import STOP
from s1ray.orchestration.run_directory.events import EventLog
from s1ray.orchestration.run_directory.runs import write_json
from s1ray.records import StepMetrics
from s1ray.training.checkpoints.peers import join_peers
from s1ray.training.fine_tune import FineTuneJob, FineTuneStart, fine_tune
from s1ray.training.host_memory import keep_freed_memory

START = "start.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTask:
    """What every worker of a run is told."""

    job: FineTuneJob
    traces_path: Path
    num_threads: int
    """Of each worker, on the CPU."""
    cluster: ClusterConfig
    """What a device can do and costs."""
    drain_poll_seconds: float
    """How often the workers ask Ray whether one of their nodes is about to be taken away."""


def train_worker(config: Mapping[str, Any]) -> None:
    """Run the task on one Ray Train worker."""
    work(config["task"], after_step=lambda _: None)


def work(task: WorkerTask, *, after_step: Callable[[StepMetrics], None]) -> None:
    """Fine-tune on this worker and the others that Ray has started, however many there are.

    Args:
        task: The same on every worker.
        after_step: Called on every worker when a step's metrics are recorded and its checkpoint,
            where one is due, is not yet begun.

    Raises:
        Exception: Anything that may be this worker's alone: the others may wait for it, and Ray
            ends them. What another attempt would meet again is in ``outcome.json``, too.
    """
    job, rank = _take_part(task), ray.train.get_context().get_world_rank()
    if rank == 0:
        note_placement(job.run_path)
    if _is_given_up(job):
        return
    try:
        is_finished = _fine_tune(task, job, rank=rank, after_step=after_step)
        outcome = Outcome(is_finished=is_finished, error=None)
    except FloatingPointError as error:  # summed over all ranks, so that all of them end alike
        outcome = Outcome.of_error(error)
    except ValueError as error:
        if _has_peers():
            write_outcome(job.run_path, Outcome.of_error(error), rank=rank)
        raise
    if rank == 0:
        write_outcome(job.run_path, outcome, rank=rank)


def _has_peers() -> bool:
    """Whether Ray has left this worker its group.

    It takes the group away under the steps of an attempt that lost a node, and what torch then says
    is a ValueError, too: no bad input, but a reason to begin again.
    """
    return ray.train.get_context().get_world_size() == 1 or dist.is_initialized()


def _is_given_up(job: FineTuneJob) -> bool:
    """Whether an attempt before this one met what this one would meet again; one answer for all."""
    peers = join_peers(timeout_seconds=job.checkpoint.commit_timeout_seconds)
    before = peers.decide(lambda: read_outcome(job.run_path))
    return before is not None and before.error is not None


def _fine_tune(
    task: WorkerTask, job: FineTuneJob, *, rank: int, after_step: Callable[[StepMetrics], None]
) -> bool:
    """Return whether the run is finished, otherwise it was asked to stop."""
    is_writer = rank == 0
    records = _Records(task, job) if is_writer else None
    meter = EnergyMeter(job.run_path, rank=rank, counter=open_counter())
    drain = _DrainWatch(task.drain_poll_seconds)

    def on_step(metrics: StepMetrics) -> None:
        joules = meter.after_step()
        if records is not None:
            records.append(metrics, joules=joules)
        drain.after_step(metrics)
        after_step(metrics)

    return fine_tune(
        job,
        read_traces(task.traces_path),
        on_start=records.begin if records is not None else lambda _: None,
        on_step=on_step,
        should_stop=lambda: is_writer and (job.run_path / STOP).exists(),
        should_hurry=lambda: drain.is_draining,
    )


def _take_part(task: WorkerTask) -> FineTuneJob:
    """Return the job as it is sharded over the workers that there are, and set this one up."""
    num_workers = ray.train.get_context().get_world_size()
    sharding = fit_sharding(task.job.sharding, num_workers=num_workers)
    if sharding.device == "cpu":
        torch.set_num_threads(max(1, task.num_threads))
        keep_freed_memory()
    return replace(task.job, sharding=sharding)


def fit_sharding(config: ShardingConfig, *, num_workers: int) -> ShardingConfig:
    """Return the sharding for as many workers as there are.

    Degrees shrink to the largest that divides both. The model's heads may not allow that one (12
    query and 2 key-value heads allow 6, but not 3), which ``start_state`` refuses by name. What is
    computed stays the same: a step's samples do not depend on how many share them.
    """
    if num_workers == config.num_workers:
        return config
    changes = {
        "num_workers": num_workers,
        "sequence_parallel": math.gcd(config.sequence_parallel, num_workers),
        "replicas": math.gcd(config.replicas, num_workers),
    }
    return ShardingConfig.model_validate({**config.model_dump(), **changes})


class _Records:
    """The files that rank 0 writes while training goes on."""

    def __init__(self, task: WorkerTask, job: FineTuneJob) -> None:
        self._job = job
        self._events = EventLog(job.run_path)
        self._spending = Spending(
            task.cluster, sharding=job.sharding, before=self._events.last_row, began=time.time()
        )

    def begin(self, start: FineTuneStart) -> None:
        """Write where the run begins."""
        description = describe_start(start)
        description["num_workers"] = self._job.sharding.num_workers
        write_json(self._job.run_path / START, description)

    def append(self, metrics: StepMetrics, *, joules: float | None) -> None:
        """Write a step's metrics, this rank's joules, and what the run has cost by then."""
        costs = self._spending.describe(metrics, now=time.time())
        energy = {} if joules is None else {"train/joules_of_one_device": joules}
        self._events.append(metrics.step, name_metrics(metrics) | costs | energy)


class _DrainWatch:
    """Whether a node of this run is about to be taken away; asked by all ranks at the same steps.

    Asking is a barrier of some milliseconds, so it is done by the clock; a step's seconds are the
    same on every rank, and so is their sum.
    """

    def __init__(self, poll_seconds: float) -> None:
        self._poll_seconds = poll_seconds
        self._seconds = 0.0
        self.is_draining = False

    def after_step(self, metrics: StepMetrics) -> None:
        self._seconds += metrics.seconds
        if self._seconds >= self._poll_seconds:
            self._seconds = 0.0
            self.is_draining = ray.train.get_preemption_info() is not None


def describe_start(start: FineTuneStart) -> dict[str, Any]:
    """Return the content of ``start.json``, as far as training knows it."""
    examples = start.examples
    return {
        "time": time.time(),
        "step": start.checkpoint.step if start.checkpoint else 0,
        "checkpoint": start.checkpoint.path if start.checkpoint else None,
        "num_steps": start.num_steps,
        "passed_over": list(start.passed_over),
        "num_samples": len(examples.examples),
        "num_tokens": sum(len(example.input_ids) for example in examples.examples),
        "num_truncated_samples": examples.num_truncated_samples,
        "num_truncated_tokens": examples.num_truncated_tokens,
        "num_dropped_samples": examples.num_dropped_samples,
    }


def name_metrics(metrics: StepMetrics) -> dict[str, float | str | None]:
    """Return a step's metrics under the names that events and dashboards use."""
    names = {"loss_nats": "loss_nats_per_token"}
    values = asdict(metrics)
    del values["step"]
    return {f"train/{names.get(name, name)}": value for name, value in values.items()}
