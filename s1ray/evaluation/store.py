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
from types import TracebackType
from typing import Any, Self

from s1ray.evaluation.samples import (
    EvaluatedSample,
    SampleGroup,
    SampleTask,
    Score,
    from_row,
    read_task,
    to_row,
)

SAMPLES = "samples.jsonl"

logger = logging.getLogger(__name__)


class SampleStore:
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
        if not path.exists():
            path.touch()
            _sync_folder(path.parent)
        _cut_torn_row(path)
        self._tasks = {read_task(row) for _, row in _read_rows(path)}
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
        self._size = os.fstat(self._file).st_size

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
        self._write(_to_line(sample))
        self._tasks.add(sample.task)
        if self._unsynced_rows == 0:
            self._unsynced_since = self._clock()
        self._unsynced_rows += 1
        self.sync_if_due()
        return True

    def _write(self, line: bytes) -> None:
        left = memoryview(line)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(line)

    def sync_if_due(self) -> None:
        """Make the file durable if enough rows, or old enough ones, are not."""
        is_old = self._clock() - self._unsynced_since >= self.sync_seconds
        if self._unsynced_rows and (self._unsynced_rows >= self._sync_rows or is_old):
            self.sync()

    def sync(self) -> None:
        """Make every row durable."""
        if self._unsynced_rows:
            os.fsync(self._file)
            self._unsynced_rows = 0

    def close(self) -> None:
        """Make every row durable and let go of the file."""
        self.sync()
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


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
        file.writelines(_to_line(sample) for sample in samples)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    _sync_folder(path.parent)


def _to_line(sample: EvaluatedSample) -> bytes:
    text = json.dumps(to_row(sample), ensure_ascii=False, allow_nan=False)
    # A lone surrogate has no UTF-8 form; its backslash form is JSON's own escape for it.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the whole rows of a file with their line numbers, from 1."""
    lines_of: dict[SampleTask, int] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
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


def _cut_torn_row(path: Path) -> None:
    """Remove what follows the last line's end: a kill in the middle of a write left it there."""
    size = path.stat().st_size
    whole = _find_last_line_end(path, size=size)
    if whole != size:
        logger.warning("%s ended in a torn row of %d bytes; cut off.", path, size - whole)
        os.truncate(path, whole)


def _find_last_line_end(path: Path, *, size: int) -> int:
    """Return the offset behind the last newline, 0 where there is none."""
    with path.open("rb") as file:
        end = size
        while end > 0:
            start = max(0, end - _CHUNK_BYTES)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0


_CHUNK_BYTES = 1 << 20


def _sync_folder(folder: Path) -> None:
    """Make a folder's entries durable, a new file's name among them."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
