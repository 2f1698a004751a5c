"""The run's own record of its metrics: ``events.jsonl``, written before anybody else hears of it.

Steps never go backwards: a resumed run appends only what lies beyond the last step recorded.
"""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from s1ray.closing import ClosedAtEnd
from s1ray.line_file import LineFile, read_whole_lines

EVENTS = "events.jsonl"


class EventLog(ClosedAtEnd):
    """Appends metrics, one JSON object a line."""

    def __init__(self, run_path: Path) -> None:
        """Open the log of a run directory; a torn last line is cut off."""
        self.last_row = max(read_events(run_path), key=lambda row: row["global_step"], default=None)
        """The row of the last step recorded before; None where there is none."""
        self.last_step: int = -1 if self.last_row is None else self.last_row["global_step"]
        self._file = LineFile(run_path / EVENTS)

    def append(self, global_step: int, metrics: Mapping[str, float | str | None]) -> bool:
        """Record metrics of a step, unless the step was recorded before.

        Returns:
            Whether the step was new.
        """
        if global_step <= self.last_step:
            return False
        row = {"global_step": global_step, "time": time.time(), **metrics}
        self._file.append(json.dumps(row, ensure_ascii=False, allow_nan=False).encode())
        self.last_step = global_step
        return True

    def close(self) -> None:
        """Make everything durable."""
        self._file.sync()
        self._file.close()


def read_events(run_path: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a run's event log; none where there is no log yet."""
    for row, _ in follow_lines(run_path / EVENTS, offset=0):
        yield row


def follow_lines(path: Path, *, offset: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the whole JSON lines from a byte offset on, each with the offset behind it."""
    if path.exists():
        for line in read_whole_lines(path, offset=offset):
            yield json.loads(line.content), line.end
