"""A fine-tune in a process of its own that can be stood still at a chosen step, and killed.

What is killed is the driver with everything it started: Ray, its workers, their threads. This
module does not know why somebody wants that.
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import psutil

from s1ray.config.recipe import Recipe
from s1ray.orchestration.fine_tune.train import prepare_train, run_train
from s1ray.orchestration.fine_tune.train_worker import WorkerTask, work
from s1ray.records import StepMetrics
from s1ray.training.checkpoints.commit import read_manifest
from s1ray.training.checkpoints.search import list_committed
from s1ray.training.fine_tune import CHECKPOINTS

PAUSED = "paused"
_POLL_SECONDS = 0.05
_LOG_TAIL = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProcess:
    """A started ``jobs.train`` of its own."""

    process: SpawnProcess
    run_path: Path
    log: Path

    def wait(self, *, timeout_seconds: float) -> None:
        """Return when it has ended well.

        Raises:
            RuntimeError: It failed or takes too long; the message ends with what it printed last.
        """
        self.process.join(timeout_seconds)
        if self.process.exitcode != 0:
            raise self._explain(timeout_seconds)

    def wait_for_pause(self, *, timeout_seconds: float) -> None:
        """Return when it stands still at its step.

        Raises:
            RuntimeError: It ended before, or takes too long.
        """
        deadline = time.monotonic() + timeout_seconds
        while not (self.run_path / PAUSED).exists():
            self.process.join(_POLL_SECONDS)
            if not self.process.is_alive() or time.monotonic() > deadline:
                raise self._explain(timeout_seconds)

    def kill(self) -> None:
        """End it and everything it started by SIGKILL, and wait until all are gone."""
        try:
            root = psutil.Process(self.process.pid)
            family = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            family = []
        for member in family:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue
        self.process.join()
        psutil.wait_procs(family)

    def _explain(self, timeout_seconds: float) -> RuntimeError:
        code = self.process.exitcode
        what = (
            f"did not come so far in {timeout_seconds:.0f} s" if code is None else f"ended: {code}"
        )
        tail = self.log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:]
        return RuntimeError(
            f"the training in {self.run_path} {what}. {self.log} ends with:\n{tail}"
        )


def start_training(recipe: Recipe, *, log: Path, pause_after: int | None) -> TrainingProcess:
    """Start a fine-tune in a process of its own.

    Args:
        recipe: Its traces must be a file, so that there is nothing to curate.
        log: Takes what it prints.
        pause_after: It stands still for good in the step after this one, as soon as this one's
            checkpoint is committed; None lets it run.

    Raises:
        ValueError: The recipe cannot be trained.
    """
    run_path = prepare_train(recipe).run.path
    (run_path / PAUSED).unlink(missing_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    process = multiprocessing.get_context("spawn").Process(
        target=_train, args=(recipe, log, pause_after), name="training"
    )
    process.start()
    return TrainingProcess(process=process, run_path=run_path, log=log)


def _train(recipe: Recipe, log: Path, pause_after: int | None) -> None:
    descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    plan = prepare_train(recipe)
    if pause_after is None:
        run_train(plan)
    else:
        run_train(plan, worker=partial(pausing_worker, pause_after=pause_after))


def pausing_worker(config: Mapping[str, Any], *, pause_after: int) -> None:
    """Train like any worker, but stand still for good in the step after ``pause_after``.

    That step's work is done and not saved; the checkpoint before it is committed.
    """
    task: WorkerTask = config["task"]

    def pause(metrics: StepMetrics) -> None:
        if metrics.step == pause_after + 1:
            while not _is_committed(task.job.run_path, step=pause_after):
                time.sleep(_POLL_SECONDS)
            (task.job.run_path / PAUSED).touch()
            threading.Event().wait()

    work(task, after_step=pause)


def _is_committed(run_path: Path, *, step: int) -> bool:
    checkpoints = list_committed(run_path / CHECKPOINTS)
    return any(read_manifest(checkpoint).step == step for checkpoint in checkpoints)
