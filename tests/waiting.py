"""Waiting for what other processes and threads do, never for longer than is set."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_POLL_SECONDS = 0.01
_TAIL_CHARACTERS = 3000


def wait_until(
    condition: Callable[[], object],
    *,
    seconds: float = 120.0,
    process: "subprocess.Popen[Any] | None" = None,
    log: Path | None = None,
) -> None:
    """Return as soon as a condition holds.

    Args:
        condition: What is waited for.
        seconds: How long at most.
        process: Of whom it is expected; where that has ended, it will not come any more.
        log: What that process says; its end is in the failure.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        has_ended = process is not None and process.poll() is not None
        if has_ended and condition():  # the last that it did
            return
        assert not has_ended, f"{process} has ended: {_read_tail(log)}"
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {_read_tail(log)}"
        time.sleep(_POLL_SECONDS)


def _read_tail(log: Path | None) -> str:
    return "" if log is None else log.read_text(errors="replace")[-_TAIL_CHARACTERS:]
