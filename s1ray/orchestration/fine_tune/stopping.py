"""A run that is asked to stop: a signal becomes a file that the workers look for."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
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


def run_aside(call: Callable[[], object]) -> None:
    """Run a call outside the main thread and wait for its end; what it raises is raised here.

    Ray Train's ``fit`` takes Ctrl-C for itself in the main thread, and aborts without a checkpoint.
    """
    outcome: Future[object] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name="aside", daemon=True).start()
    outcome.result()


def wait_for_signal() -> None:
    """Wait until SIGTERM or Ctrl-C; what comes after may take its time, and a second one kills.

    Enter it after Ray has been initialised: Ray installs handlers of its own.
    """
    asked = threading.Event()
    previous = {number: signal.signal(number, lambda *_: asked.set()) for number in _SIGNALS}
    asked.wait()
    for number, handler in previous.items():
        signal.signal(number, handler)
