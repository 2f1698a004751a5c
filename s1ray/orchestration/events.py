"""The run's own record of its metrics: ``events.jsonl``, written before anybody else hears of it.

Steps never go backwards: a resumed run appends only what lies beyond the last step recorded.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

EVENTS = "events.jsonl"


class EventLog:
    """Appends metrics, one JSON object a line."""

    def __init__(self, run_path: Path) -> None:
        """Open the log of a run directory; a torn last line is cut off."""
        path = run_path / EVENTS
        _cut_torn_line(path)
        self.last_step = max((row["global_step"] for row in read_events(run_path)), default=-1)
        self._file = path.open("a", encoding="utf-8")

    def append(self, global_step: int, metrics: Mapping[str, float | str | None]) -> bool:
        """Record metrics of a step, unless the step was recorded before.

        Returns:
            Whether the step was new.
        """
        if global_step <= self.last_step:
            return False
        row = {"global_step": global_step, "time": time.time(), **metrics}
        self._file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()
        self.last_step = global_step
        return True

    def close(self) -> None:
        """Make everything durable."""
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _cut_torn_line(path: Path) -> None:
    """Remove a last line that a kill left without its end."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        os.truncate(path, whole)


def read_events(run_path: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a run's event log; none where there is no log yet."""
    for row, _ in follow_lines(run_path / EVENTS, offset=0):
        yield row


def follow_lines(path: Path, *, offset: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the whole JSON lines from a byte offset on, each with the offset behind it."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            yield json.loads(line), offset
