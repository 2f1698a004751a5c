"""What people see while a job runs: one header, one bar per long stage, a closing table.

On a terminal progress is a bar; elsewhere it is a line now and then. This module decides nothing.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

console = Console(stderr=True, highlight=False)
LOG_SECONDS = 15.0
"""Between two progress lines where there is no terminal."""


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
        console.print(f"{self._title}: {completed}/{self._total} {note}", soft_wrap=True)


@contextmanager
def show_progress(title: str, *, total: int) -> Iterator[Bar]:
    """Show a stage's progress while the block runs."""
    if not console.is_terminal:
        yield _LogBar(title, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield _TerminalBar(progress, title, total)


def say(text: str) -> None:
    """Print one line of what was decided or reached."""
    console.print(text, soft_wrap=True, markup=False)


def show_table(title: str, rows: list[dict[str, str]]) -> None:
    """Print rows of one shape as a table; columns of numbers are set flush right."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for name in rows[0] if rows else ():
        is_number = all(row[name].strip("+-±")[:1].isdigit() for row in rows)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    console.print(table)


def print_result(path: str) -> None:
    """Print where the result lies, alone on standard output, last."""
    sys.stdout.write(f"{path}\n")
    sys.stdout.flush()
