"""A run that is asked to stop: a signal becomes a file that the workers look for."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from s1ray.orchestration.terminal import say

STOP = "stop"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(slots=True)
class StopRequest:
    """Whether somebody asked."""

    signal: int | None = None


@contextmanager
def stop_on_signals(run_path: Path) -> Iterator[StopRequest]:
    """Let SIGTERM and Ctrl-C ask the run to save and end while the block runs; a second one kills.

    Enter it after Ray has been initialised: Ray installs handlers of its own.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous = {number: signal.getsignal(number) for number in _SIGNALS}

    def ask(number: int, _: FrameType | None) -> None:
        request.signal = number
        (run_path / STOP).touch()
        for known, handler in previous.items():
            signal.signal(known, handler)
        say("stopping after this step, with a checkpoint; once more to stop at once")

    for number in _SIGNALS:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
