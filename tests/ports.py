"""Ports that a test names before anything listens there.

From 32768 on the kernel gives ports to whoever asks for any, so one that was seen free there may be
a neighbour's a moment later. These come from below, from a range that every process of pytest has
for itself.
"""

import itertools
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_FIRST = 20_000
"""Ray gives its workers the ports from 10002 to 19999."""
_PER_PROCESS = 500
_NUM_PROCESSES = 25
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw-1").removeprefix("gw")) + 1
_STARTS = itertools.count(os.getpid())
"""Beginning elsewhere than another session that runs on this machine."""


def free_port() -> int:
    """Return a port that nobody holds, and that was not returned shortly before."""
    first = _FIRST + _PER_PROCESS * (_PROCESS % _NUM_PROCESSES)
    for start in itertools.islice(_STARTS, _PER_PROCESS):
        port = first + start % _PER_PROCESS
        if _is_free(port):
            return port
    raise OSError(f"no port from {first} to {first + _PER_PROCESS - 1} is free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


@contextmanager
def closed_port(host: str = "127.0.0.1") -> Iterator[int]:
    """Yield a port of an address at which nothing answers, and nothing can while the block runs."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as held:
        with suppress(OSError):  # where this machine lacks the address, nothing can answer there
            held.bind((host, 0))  # taken, and never listened at
        yield held.getsockname()[1]
