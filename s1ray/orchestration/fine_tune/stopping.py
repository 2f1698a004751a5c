"""A run that is asked to stop: a signal becomes a file that the workers look for."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
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
def stop_on_signals(run_path: Path, *, has_begun: Callable[[], bool]) -> Iterator[StopRequest]:
    """Let SIGTERM and Ctrl-C ask the run to save and end while the block runs; a second one kills.

    Until workers have begun, which on a full cluster may take hours, nobody would hear it and there
    is nothing to save: the first one ends the block at once.

    Enter it after Ray has been initialised: Ray installs handlers of its own.

    Args:
        run_path: The run.
        has_begun: Whether its workers have.

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
        (run_path / STOP).touch()
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
