"""What people see while a job runs: a header per run, one bar per long stage, a closing table.

On a terminal progress is a bar; elsewhere it is a line now and then. All of it goes to standard
error; the result alone, last, to standard output. This module decides nothing.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from s1ray.orchestration.cluster.secrets_at_hand import redact_at_hand

console = Console(stderr=True, highlight=False)
_alarm = Console(stderr=True, highlight=False)
"""Speaks also where a job was told to be quiet."""
_begun: dict[Path, None] = {}
"""The run directories of this job, in the order of their headers."""
LOG_SECONDS = 15.0
"""Between two progress lines where there is no terminal; no setting, since -q is, and every
number stands in events.jsonl."""
_WHOLE = 16
"""Characters up to which a table's cell stays on one line; longer ones may be folded."""


class Bar(Protocol):
    """Progress of one stage."""

    def advance_to(self, completed: int, note: str) -> None:
        """Say how far the stage is, and what the numbers are just now."""
        ...


class _TerminalBar:
    def __init__(self, progress: Progress, title: str, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=total, note="")

    def advance_to(self, completed: int, note: str) -> None:
        self._progress.update(self._task, completed=completed, note=note)


class _LogBar:
    def __init__(self, title: str, total: int) -> None:
        self._title, self._total = title, total
        self._spoke = float("-inf")

    def advance_to(self, completed: int, note: str) -> None:
        now = time.monotonic()
        if now - self._spoke < LOG_SECONDS and completed < self._total:
            return
        self._spoke = now
        line = f"{self._title}: {completed}/{self._total} {note}"
        console.print(line, soft_wrap=True, markup=False)


@contextmanager
def show_progress(title: str, *, total: int) -> Iterator[Bar]:
    """Show a stage's progress while the block runs."""
    if not console.is_terminal:
        yield _LogBar(title, total)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console) as progress:
        yield _TerminalBar(progress, title, total)


@contextmanager
def speak_for_job(*, is_quiet: bool) -> Iterator[None]:
    """Begin a job's output; while the block runs print everything, or only errors and results."""
    _begun.clear()
    console.quiet = is_quiet
    try:
        yield
    finally:
        console.quiet = False


def show_header(stage: str, path: Path, *, kept: str) -> None:
    """Say which run a stage is, and what it goes on from.

    Args:
        stage: Such as train.
        path: The run's directory.
        kept: What the directory holds already; empty for a new run.
    """
    note_run(path)
    state = f" ({kept} already)" if kept == "finished" else f" (goes on from {kept})"
    line = Text.assemble((f"{stage}:", "bold"), f" {path}", state if kept else "")
    console.print(line, soft_wrap=True)


def note_run(path: Path) -> None:
    """Count a run among this job's, also one that another of its processes did."""
    _begun[path] = None


def list_begun() -> tuple[Path, ...]:
    """Return the run directories that this job began or found finished, in order.

    A suite's are gone when it has measured them.
    """
    return tuple(path for path in _begun if path.is_dir())


def say(text: str) -> None:
    """Print one line of what was decided or reached, without any secret."""
    console.print(redact_at_hand(text), soft_wrap=True, markup=False)


def complain(text: str) -> None:
    """Print what went wrong, without any secret; also where a job was told to be quiet."""
    _alarm.print(redact_at_hand(text), soft_wrap=True, markup=False)


def show_table(title: str, rows: list[dict[str, str]]) -> None:
    """Print rows of one shape as a table; columns of numbers are set flush right."""
    # As text: in brackets rich would see markup of its own.
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD)
    for name in rows[0] if rows else ():
        is_number = all(row[name].strip("+-±")[:1].isdigit() for row in rows)
        longest = max(len(row[name]) for row in rows)
        table.add_column(
            Text(name),
            justify="right" if is_number else "left",
            overflow="fold",
            min_width=min(longest, _WHOLE),
        )
    for row in rows:
        table.add_row(*map(Text, row.values()))
    console.print(table)


def print_result(path: str) -> None:
    """Print where the result lies, alone on standard output, last."""
    sys.stdout.write(f"{path}\n")
    sys.stdout.flush()
