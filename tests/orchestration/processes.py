"""Finding and killing real processes at a chosen moment."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HOLD = """
import sys, time
from pathlib import Path
from s1ray.orchestration.run_directory.lease import hold_lease
with hold_lease(Path(sys.argv[1]), heartbeat_seconds=0.1, stale_seconds=60):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def hold_elsewhere(path: Path, *, wrapper: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """Have another process, behind a wrapping command, hold a run's lease while the block runs."""
    with subprocess.Popen(
        [*wrapper, sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            holder.kill()


def wait_until(condition: Callable[[], object], *, seconds: float = 120.0) -> None:
    """Return as soon as a condition holds.

    Raises:
        TimeoutError: It does not come to hold.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.005)


def count_lines(path: Path) -> int:
    """Return how many whole lines a file has; 0 where there is no file yet."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def is_alive(pid: int) -> bool:
    """Return whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def list_session(leader: int) -> list[str]:
    """Return the command lines of the processes in a session that are not dead."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                found.append((stat.parent / "cmdline").read_text().replace("\0", " "))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def kill(pid: int) -> None:
    """Kill a process outright."""
    os.kill(pid, signal.SIGKILL)
