"""What the dashboard is sent of a run: its events and samples as numbered rows.

They are the same every time: a row's step follows from the place of its event in ``events.jsonl``
alone. Whoever forwards may be killed at any instant: the next one asks the server for the last step
it has, and goes on behind it, so that nothing is lost and nothing comes twice. This module knows no
W&B.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from s1ray.evaluation.store import SAMPLES
from s1ray.orchestration.run_directory.events import EVENTS, follow_lines
from s1ray.orchestration.run_directory.runs import write_atomically

STEPS_BEFORE = "steps_before.txt"
"""In a run that started over: how many steps the dashboard may have of what it did before."""
STEPS_PER_EVENT = 3
"""An event, a table of full size behind it, and the last table of a finished run."""
SAMPLE_COLUMNS = (
    "benchmark", "item", "sample", "policy", "model", "question", "thinking", "answer",
    "extracted", "gold", "verdict", "num_waits_applied", "thinking_end",
)  # fmt: skip
_TEXTS = ("question", "thinking", "answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardRow:
    """One row of the dashboard's history."""

    step: int
    metrics: Mapping[str, Any]
    """``global_step`` among them."""
    samples: tuple[tuple[Any, ...], ...]
    """Of a table, in ``SAMPLE_COLUMNS``; empty for none."""


class BoardRows:
    """Reads a run directory from the beginning, and later what has come since."""

    def __init__(self, run_path: Path, *, table_rows: int) -> None:
        """Begin at the first event.

        Args:
            run_path: Of the run.
            table_rows: Samples in a table.
        """
        self._path = run_path
        self._table_rows = table_rows
        self._first_step = _count_steps_before(run_path)
        self._num_events = 0
        self._num_samples = 0
        self._event_offset = 0
        self._sample_offset = 0
        self._last_step: int | None = None

    def read(self, *, is_whole: bool) -> Iterator[BoardRow]:
        """Yield the rows that were not yielded yet.

        Args:
            is_whole: Whether the run is finished, so that a table that is not full is due, too.
        """
        for event, offset in follow_lines(self._path / EVENTS, offset=self._event_offset):
            self._event_offset = offset
            step = self._first_step + STEPS_PER_EVENT * self._num_events
            self._num_events += 1
            self._last_step = event["global_step"]
            metrics = {name: value for name, value in event.items() if name != "time"}
            yield BoardRow(step=step, metrics=metrics, samples=())
            due = event["global_step"] // self._table_rows * self._table_rows
            if due > self._num_samples:
                yield from self._table(step + 1, due - self._num_samples)
        if is_whole and self._last_step is not None:
            last_step = self._first_step + STEPS_PER_EVENT * self._num_events - 1
            yield from self._table(last_step, None)

    def _table(self, step: int, num_samples: int | None) -> Iterator[BoardRow]:
        """Yield one row with the next samples, where the run has any."""
        lines = follow_lines(self._path / SAMPLES, offset=self._sample_offset)
        samples = []
        for row, offset in islice(lines, num_samples):
            samples.append(show_sample(row))
            self._sample_offset = offset
        if samples:
            self._num_samples += len(samples)
            metrics = {"global_step": self._last_step}
            yield BoardRow(step=step, metrics=metrics, samples=tuple(samples))


def leave_steps_behind(run_path: Path) -> None:
    """Put the rows of a run that is about to start over behind those that the dashboard has."""
    num_events = sum(1 for _ in follow_lines(run_path / EVENTS, offset=0))
    steps = _count_steps_before(run_path) + STEPS_PER_EVENT * num_events
    write_atomically(run_path / STEPS_BEFORE, f"{steps}\n")


def _count_steps_before(run_path: Path) -> int:
    path = run_path / STEPS_BEFORE
    return int(path.read_text(encoding="utf-8")) if path.exists() else 0


def show_sample(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what of a sample may leave the run directory, in ``SAMPLE_COLUMNS``.

    Of a private benchmark (its rows hold no question) no text leaves it, since thinking quotes the
    question: ids and letters only.
    """
    shown = {name: row[name] for name in SAMPLE_COLUMNS}
    if row["question"] is None:
        shown |= dict.fromkeys(_TEXTS)
        for name in ("extracted", "gold"):
            shown[name] = shown[name] if len(shown[name] or "") == 1 else None
    return tuple(shown.values())
