"""A piece of work in a process of its own: its result, its seconds, and the memory it needed.

Memory is the proportional set size of the process and all its descendants, added up and looked at
again and again: pages that processes share count once. Linux only.
"""

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

_TAIL_LINES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a piece of work gave and took."""

    result: Any
    seconds: float
    """Of the work alone: the process is up before."""
    peak_memory_gib: float
    """At the highest moment from the process's start to the work's end."""


Work = Callable[[], tuple[Any, float]]
"""Returns its result and the seconds that count."""


def measure_apart(work: Work, *, sample_seconds: float) -> Measured:
    """Run a picklable function in a fresh interpreter.

    Raises:
        RuntimeError: It failed; its own error stands on standard error.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(work, theirs))
    process.start()
    theirs.close()
    peak = 0
    while not ours.poll(sample_seconds):
        peak = max(peak, _add_up_memory(process.pid))
    try:
        result, seconds = ours.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"a measured process ended with {process.exitcode}.") from None
    peak = max(peak, _add_up_memory(process.pid))
    ours.send(None)
    process.join()
    return Measured(result=result, seconds=seconds, peak_memory_gib=peak / 2**30)


def time_work(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return a call's result and its seconds."""
    began = time.perf_counter()
    return work(), time.perf_counter() - began


def read_tail(log: Path) -> str:
    """Return the last lines of what a process printed."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return "\n".join(lines[-_TAIL_LINES:])


def _work(work: Work, connection: Connection) -> None:
    connection.send(work())
    connection.recv()  # stays, with its workers, until its memory has been looked at


def _add_up_memory(pid: int | None) -> int:
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(_read_memory(process) for process in family)


def _read_memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
