"""How long a run has been worked on: all its attempts, in ``attempts.json``, the latest last.

An attempt that ends, well or not, notes its seconds. One that was killed could not: the next one
counts it up to the last sign of life that it left. This module does not know what a run does.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from s1ray.orchestration.run_directory.events import read_events
from s1ray.orchestration.run_directory.runs import write_json

ATTEMPTS = "attempts.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One start of a run."""

    began: float
    """Unix seconds."""
    seconds: float | None
    """How long it took; None while it is under way, or was killed and is not counted yet."""


class AttemptClock:
    """The attempt under way, and those before it."""

    def __init__(self, earlier_seconds: float) -> None:
        """Begin now, behind so many seconds of earlier attempts."""
        self._earlier_seconds = earlier_seconds
        self._began = time.monotonic()

    @property
    def own_seconds(self) -> float:
        """Of this attempt so far."""
        return time.monotonic() - self._began

    @property
    def total_seconds(self) -> float:
        """Of all attempts so far, without the pauses between them."""
        return self._earlier_seconds + self.own_seconds


@contextmanager
def time_attempt(run_path: Path, *, last_heard: float | None) -> Iterator[AttemptClock]:
    """Count the block as an attempt of a run.

    Args:
        run_path: Its directory; nobody else writes it.
        last_heard: Unix seconds at which whoever held the run before was last alive, as its lease
            says; None where it left none.
    """
    earlier = [
        attempt if attempt.seconds is not None else _close(attempt, run_path, last_heard)
        for attempt in read_attempts(run_path)
    ]
    clock = AttemptClock(sum(attempt.seconds or 0.0 for attempt in earlier))
    began = time.time()
    _write(run_path, [*earlier, Attempt(began=began, seconds=None)])
    try:
        yield clock
    finally:
        # On a full disk the attempt stays open, and is counted as one that was killed.
        with suppress(OSError):
            _write(run_path, [*earlier, Attempt(began=began, seconds=clock.own_seconds)])


def read_attempts(run_path: Path) -> list[Attempt]:
    """Return a run's attempts in their order; none where it was never begun."""
    path = run_path / ATTEMPTS
    if not path.exists():
        return []
    return [Attempt(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def _close(attempt: Attempt, run_path: Path, last_heard: float | None) -> Attempt:
    """Return a killed attempt with the time until its last event or sign of its lease."""
    last_event = max((row["time"] for row in read_events(run_path)), default=attempt.began)
    ended = max(attempt.began, last_event, last_heard or attempt.began)
    return replace(attempt, seconds=ended - attempt.began)


def _write(run_path: Path, attempts: list[Attempt]) -> None:
    write_json(run_path / ATTEMPTS, [asdict(attempt) for attempt in attempts])
