"""A run that is asked to stop by a signal; its workers look for a file that says so."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from ray.train.torch import TorchTrainer

from s1ray.orchestration.terminal import say

STOP = "stop"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(slots=True)
class StopRequest:
    """Whether somebody asked."""

    signal: int | None = None


@contextmanager
def stop_on_signals(
    tell: Callable[[], object], *, has_begun: Callable[[], bool]
) -> Iterator[StopRequest]:
    """Let SIGTERM and Ctrl-C ask for an end with a checkpoint while the block runs; twice kills.

    Until workers have begun, which on a full cluster may take hours, nobody would hear it and there
    is nothing to save: the first one ends the block at once.

    Enter it after Ray has been initialised: Ray installs handlers of its own.

    Args:
        tell: Tells those who train that they are to stop, where they do not read the request.
        has_begun: Whether there is anybody to hear it.

    Raises:
        KeyboardInterrupt: Ctrl-C before that.
        SystemExit: SIGTERM before that.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous = {number: signal.getsignal(number) for number in _SIGNALS}

    def ask(number: int, _: FrameType | None) -> None:
        request.signal = number
        for known, handler in previous.items():
            signal.signal(known, handler)
        if not has_begun():
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        tell()
        say("stopping after this step, with a checkpoint; once more to stop at once")

    for number in _SIGNALS:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class StoppableTrainer(TorchTrainer):
    """Leaves Ctrl-C to the job: Ray Train would take it, and abort without a checkpoint.

    It replaces a method that Ray keeps to itself (2.60, train/v2/api/data_parallel_trainer.py).
    """

    def _register_sigint_handler(self, controller: object) -> None:
        """Register none."""
