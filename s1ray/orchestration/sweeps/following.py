"""A trial under way in a thread of its own, followed by whoever decides whether it goes on.

What is reported is read from the training run's event log, at fixed numbers of tokens: a trial that
is started again, or whose training stood finished, reports the same numbers again.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from s1ray.orchestration.fine_tune.stopping import STOP
from s1ray.orchestration.fine_tune.train_worker import START
from s1ray.orchestration.run_directory.events import EVENTS, follow_lines
from s1ray.orchestration.run_directory.lease import is_held_here
from s1ray.orchestration.run_directory.runs import write_json
from s1ray.orchestration.sweeps.plan import TrialPlan
from s1ray.orchestration.sweeps.trial import run_trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How far a trial's training is, and how well it does."""

    tokens: int
    """Training tokens seen."""
    loss: float
    """Mean over the steps since the report before, nats per token."""


def follow_reports(
    train_path: Path, *, every_tokens: int, wait: Callable[[], bool]
) -> Iterator[Report]:
    """Yield a report whenever so many more tokens have been seen, and one at the end.

    Args:
        train_path: A training run's directory; its event log may still grow, or not be there yet.
        every_tokens: Between two reports.
        wait: Waits for news; returns whether more may come.
    """
    tokens = marks = offset = 0
    losses: list[float] = []
    more = True
    while more:
        more = wait()
        for row, behind in follow_lines(train_path / EVENTS, offset=offset):
            offset = behind
            tokens += int(row["train/num_tokens"])
            losses.append(row["train/loss_nats_per_token"])
            if tokens // every_tokens > marks:
                marks = tokens // every_tokens
                yield Report(tokens=tokens, loss=sum(losses) / len(losses))
                losses.clear()
    if losses:
        yield Report(tokens=tokens, loss=sum(losses) / len(losses))


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRecord:
    """A trial that was stopped early, so that it stays stopped when its sweep goes on."""

    path: Path

    def write(self, report: Report) -> None:
        """Record the last report of the trial."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, {"tokens": report.tokens, "loss": report.loss})

    def read(self) -> Report | None:
        """Return the last report; None for a trial that was not stopped."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return Report(tokens=content["tokens"], loss=content["loss"])


class FollowedTrial:
    """Runs a trial in a thread, unless it was stopped before, and reports on it."""

    def __init__(self, plan: TrialPlan, *, stopped: StopRecord) -> None:
        """Begin, or go on."""
        self._plan, self._stopped = plan, stopped.read()
        self._is_trained = threading.Event()
        self._is_stopping = threading.Event()
        self.last = Report(tokens=0, loss=float("inf"))
        self._thread = threading.Thread(target=self._work, name="trial", daemon=True)
        settings = plan.recipe.scheduler
        self._poll_seconds = settings.poll_seconds
        self._reports = follow_reports(
            plan.training.run.path, every_tokens=settings.report_every_tokens, wait=self._wait
        )
        self._thread.start()

    def _work(self) -> None:
        if self._stopped is not None:
            return
        # It stopped with a checkpoint, or it failed and has told so in its own directory.
        with suppress(SystemExit, Exception):
            run_trial(
                self._plan, is_stopping=self._is_stopping.is_set, on_trained=self._is_trained.set
            )

    def _wait(self) -> bool:
        """Wait a moment for news of the training; return whether more may come."""
        if self._is_trained.wait(self._poll_seconds if self._thread.is_alive() else 0):
            return False
        return self._thread.is_alive()

    def next_report(self) -> Report | None:
        """Return the next report; None when the trial has ended."""
        limit = self._stopped.tokens if self._stopped else None
        for report in self._reports:
            if limit is not None and report.tokens > limit:
                break
            self.last = report
            return report
        self._thread.join()
        return None

    def stop(self) -> None:
        """End a training with a checkpoint; all else is left to end with this process.

        That is an evaluation, and a training whose workers wait for room.
        """
        self._is_stopping.set()
        training = self._plan.training.run.path
        while self._thread.is_alive() and not self._is_trained.is_set():
            # A training that another trial does, and this one waits for, is not this one's to end.
            if is_held_here(training):
                if not (training / START).exists():
                    return
                (training / STOP).touch()
            self._thread.join(self._poll_seconds)
