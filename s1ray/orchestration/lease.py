"""A lease on a run directory, so that two jobs never write one run.

The lease is a file that its holder touches again and again. A holder that died on this host, or
that has been silent for long, has lost it. This module knows nothing of what the run does.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from s1ray.orchestration.runs import RefusedError

LEASE = "lease.json"


@contextmanager
def hold_lease(path: Path, *, heartbeat_seconds: float, stale_seconds: float) -> Iterator[None]:
    """Hold the run directory ``path`` while the block runs.

    Args:
        path: An existing run directory.
        heartbeat_seconds: How often the lease is touched.
        stale_seconds: How long a silent lease on another host is respected.

    Raises:
        RefusedError: Another live job holds it; the message names the holder.
    """
    lease = path / LEASE
    _acquire(lease, stale_seconds=stale_seconds)
    stopped = threading.Event()

    def beat() -> None:
        while not stopped.wait(heartbeat_seconds):
            lease.touch()

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        lease.unlink(missing_ok=True)


def _acquire(lease: Path, *, stale_seconds: float) -> None:
    content = json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode()
    while True:
        try:
            descriptor = os.open(lease, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            _discard_if_dead(lease, stale_seconds=stale_seconds)
            continue
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        return


def _discard_if_dead(lease: Path, *, stale_seconds: float) -> None:
    """Remove a lease whose holder is gone; raise where it is alive."""
    try:
        silent = time.time() - lease.stat().st_mtime
        holder = json.loads(lease.read_text(encoding="utf-8") or "{}")
    except (FileNotFoundError, json.JSONDecodeError):
        time.sleep(0.05)  # released, or being written, at this very moment
        return
    here = holder.get("host") == socket.gethostname()
    if silent > stale_seconds or (here and not _is_alive(int(holder["pid"]))):
        lease.unlink(missing_ok=True)
        return
    raise RefusedError(
        f"the run {lease.parent.name} is being written by process {holder.get('pid')} on "
        f"{holder.get('host')} (last heard {silent:.0f} s ago). Wait for it or stop it; a changed "
        "configuration gets a run of its own."
    )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
