"""Finding and killing real processes at a chosen moment."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HOLD = """
import sys, time
from pathlib import Path
from s1ray.orchestration.run_directory.lease import hold_lease
with hold_lease(Path(sys.argv[1]), heartbeat_seconds=0.1, stale_seconds=60):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def running(words: Sequence[str], **options: Any) -> "Iterator[subprocess.Popen[Any]]":
    """Have a process while the block runs; whatever ends the block, kills what is left of it.

    A Popen of its own waits at the end of its block, for a process that may have no end.

    Args:
        words: Its command line.
        options: As ``Popen`` takes them.
    """
    with subprocess.Popen(words, **options) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def hold_elsewhere(path: Path, *, wrapper: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """Have another process, behind a wrapping command, hold a run's lease while the block runs."""
    words = [*wrapper, sys.executable, "-c", HOLD, str(path)]
    with running(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder


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
