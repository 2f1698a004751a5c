"""The file of evaluated samples: append-only, each sample once, whole after a kill at any instant.

A row is handed to the kernel in one write before ``append`` returns, so that it survives the
process; it is made durable against the machine's failure in groups. One process writes at a time:
the run's lease sees to that. The store knows nothing of engines, graders or metrics.
"""

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from s1ray.closing import ClosedAtEnd
from s1ray.evaluation.samples import (
    EvaluatedSample,
    SampleGroup,
    SampleTask,
    Score,
    from_row,
    read_task,
    to_row,
)
from s1ray.line_file import LineFile, read_whole_lines
from s1ray.model_source.staging import flush_directory

SAMPLES = "samples.jsonl"
UNGRADED_SAMPLES = "ungraded.jsonl"
"""What was generated and could not be graded; beside the samples, which are followed while they are
written and so never change, until it is graded."""

logger = logging.getLogger(__name__)


class SampleStore(ClosedAtEnd):
    """Appends evaluated samples to a file and knows which ones it has."""

    def __init__(
        self, path: Path, *, sync_rows: int, sync_seconds: float, clock: Callable[[], float]
    ) -> None:
        """Open a file, or begin it; what a kill left of a last row is cut off.

        Args:
            path: Of ``samples.jsonl``; its folder is made where it is missing.
            sync_rows: Rows after which the file is made durable.
            sync_seconds: How old a row may grow before it is made durable.
            clock: Monotonic seconds.

        Raises:
            ValueError: A row is unreadable or stands there twice.
        """
        self.sync_seconds = sync_seconds
        self._sync_rows = sync_rows
        self._clock = clock
        self._unsynced_rows = 0
        self._unsynced_since = 0.0
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        self._tasks = set() if is_new else {read_task(row) for _, row in _read_rows(path)}
        self._file = LineFile(path)
        if is_new:
            flush_directory(path.parent)
        if cut := self._file.num_cut_bytes:
            logger.warning("%s ended in a torn row of %d bytes; cut off.", path, cut)

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, task: SampleTask) -> bool:
        return task in self._tasks

    @property
    def num_unsynced_rows(self) -> int:
        """Rows that a failure of the machine, not of the process, could still take."""
        return self._unsynced_rows

    def missing(self, groups: Iterable[SampleGroup]) -> tuple[SampleGroup, ...]:
        """Return what is still to do: groups reduced to the policies that have no row yet."""
        reduced = (
            replace(
                group,
                policies=tuple(name for name in group.policies if group.task(name) not in self),
            )
            for group in groups
        )
        return tuple(group for group in reduced if group.policies)

    def append(self, sample: EvaluatedSample) -> bool:
        """Write a sample, unless it stands there already.

        Returns:
            Whether it was new.

        Raises:
            OSError: The disk did not take it; the file then ends with the row before.
        """
        if sample.task in self._tasks:
            return False
        self._file.append(_to_line(sample))
        self._tasks.add(sample.task)
        if self._unsynced_rows == 0:
            self._unsynced_since = self._clock()
        self._unsynced_rows += 1
        self.sync_if_due()
        return True

    def sync_if_due(self) -> None:
        """Make the file durable if enough rows, or old enough ones, are not."""
        is_old = self._clock() - self._unsynced_since >= self.sync_seconds
        if self._unsynced_rows and (self._unsynced_rows >= self._sync_rows or is_old):
            self.sync()

    def sync(self) -> None:
        """Make every row durable."""
        if self._unsynced_rows:
            self._file.sync()
            self._unsynced_rows = 0

    def close(self) -> None:
        """Make every row durable and let go of the file."""
        self.sync()
        self._file.close()


def read_samples(path: Path) -> Iterator[EvaluatedSample]:
    """Yield the samples of a file, also while it is being written; a torn last row is left out.

    Raises:
        ValueError: A row is unreadable or stands there twice.
    """
    for number, row in _read_rows(path):
        try:
            sample = from_row(row)
        except (KeyError, ValueError, TypeError) as error:
            raise _unreadable(path, number, error) from error
        yield sample


def read_scores(path: Path) -> Iterator[Score]:
    """Yield what metrics need of a file's samples, one sample in memory at a time.

    Raises:
        ValueError: A row is unreadable or stands there twice.
    """
    for sample in read_samples(path):
        yield sample.score


def write_samples(path: Path, samples: Iterable[EvaluatedSample]) -> None:
    """Replace a file by these samples in one step, as a regrading does."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.writelines(_to_line(sample) + b"\n" for sample in samples)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    flush_directory(path.parent)


def _to_line(sample: EvaluatedSample) -> bytes:
    text = json.dumps(to_row(sample), ensure_ascii=False, allow_nan=False)
    # A lone surrogate has no UTF-8 form; its backslash form is JSON's own escape for it.
    return text.encode("utf-8", "backslashreplace")


def _read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the whole rows of a file with their line numbers, from 1."""
    lines_of: dict[SampleTask, int] = {}
    for number, line in enumerate(read_whole_lines(path), start=1):
        try:
            row = json.loads(line.content)
            task = read_task(row)
        except (KeyError, ValueError, TypeError) as error:
            raise _unreadable(path, number, error) from error
        if task in lines_of:
            raise ValueError(
                f"{path}:{number} repeats the sample of line {lines_of[task]} ({task}): two "
                "processes wrote this file. Remove one of the two lines and start again."
            )
        lines_of[task] = number
        yield number, row


def _unreadable(path: Path, number: int, error: Exception) -> ValueError:
    what = f"lacks the field {error}" if isinstance(error, KeyError) else f"is unreadable: {error}"
    return ValueError(
        f"{path}:{number} {what}. A row is one JSON object with the fields of a sample; remove "
        "the line and start again, and that sample is done anew."
    )
