"""A lease on a run directory, so that two jobs never write one run.

The lease is a file that its holder touches again and again. A holder that died among the processes
that this one sees, or that has been silent for long, has lost it. This module knows nothing of what
the run does.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

import psutil

from s1ray.orchestration.run_directory.runs import HeldError
from s1ray.orchestration.terminal import complain

LEASE = "lease.json"
_EXIT_LOST = 1
_WRITING_SECONDS = 0.1
"""A lease without content is younger than this, or a crash has left it."""
_PROC = Path("/proc")
_DEAD = ("Z", "X")
"""States, as proc(5) has them, of a process that has ended though its parent has not asked."""
_START_TICKS = 19
"""Where proc(5) has a process's start, counted from behind its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holder:
    """One process at one time; a number of its own tells apart what host and pid cannot."""

    host: str
    pid: int
    started: float
    """Ticks after the boot, which no change of the clock alters; Unix seconds where there is no
    ``/proc``. A pid is used again, after a restart of the machine or of a container."""
    nonce: str
    boot: str | None = None
    """Of the kernel. None where it does not tell, and in a lease of an earlier version."""
    pid_namespace: int | None = None
    """Containers may share the host's name, but what a pid means is told by this alone."""

    @classmethod
    def this_process(cls) -> Self:
        started = _read_start(os.getpid())
        assert started is not None
        return cls(
            host=socket.gethostname(),
            pid=os.getpid(),
            started=started,
            nonce=secrets.token_hex(8),
            boot=_read_boot(),
            pid_namespace=_read_pid_namespace(),
        )

    def is_same_process(self, other: Self) -> bool:
        return replace(self, nonce=other.nonce) == other

    def has_lost(self, *, silent_seconds: float, stale_seconds: float) -> bool:
        """Whether it is gone: processes that this one sees are asked for, others listened to."""
        here = (socket.gethostname(), _read_boot(), _read_pid_namespace())
        if (self.host, self.boot, self.pid_namespace) != here:
            return silent_seconds > stale_seconds
        return _read_start(self.pid) != self.started


def _read_start(pid: int) -> float | None:
    """Return when a process began, as ``_Holder.started`` has it; None where there is none."""
    try:
        if not (_PROC / "self" / "stat").exists():
            return float(psutil.Process(pid).create_time())
        # The name, in brackets, may hold anything, brackets too.
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        fields = text.rpartition(")")[2].split()
        return None if fields[0] in _DEAD else int(fields[_START_TICKS])
    except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
        return None


def _read_boot() -> str | None:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _read_pid_namespace() -> int | None:
    try:
        return (_PROC / "self/ns/pid").stat().st_ino
    except OSError:
        return None


def end_at_once() -> None:
    """End this process, whatever it does: another one writes its run."""
    complain("this job ends")
    os._exit(_EXIT_LOST)


@contextmanager
def hold_lease(
    path: Path,
    *,
    heartbeat_seconds: float,
    stale_seconds: float,
    on_lost: Callable[[], None] = end_at_once,
) -> Iterator[None]:
    """Hold the run directory ``path`` while the block runs.

    Args:
        path: An existing run directory.
        heartbeat_seconds: How often the lease is touched.
        stale_seconds: How long a silent lease on another host is respected.
        on_lost: Called in another thread where the lease has gone to somebody else, as after this
            machine was suspended for longer than ``stale_seconds``.

    Raises:
        HeldError: Another live job holds it; the message names the holder.
    """
    lease, holder = path / LEASE, _Holder.this_process()
    _acquire(lease, holder, stale_seconds=stale_seconds)
    stopped = threading.Event()

    settings = (heartbeat_seconds, stale_seconds, on_lost, stopped)
    thread = threading.Thread(target=_beat, args=(lease, holder, *settings), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        if _read_holder(lease) == holder:
            lease.unlink()


def _beat(
    lease: Path,
    holder: _Holder,
    heartbeat_seconds: float,
    stale_seconds: float,
    on_lost: Callable[[], None],
    stopped: threading.Event,
) -> None:
    """Touch the lease until it is given back; tell where it is lost."""
    last_beat = time.monotonic()
    while not stopped.wait(heartbeat_seconds):
        found = None
        with suppress(OSError):  # a disk that fails for a moment takes no lease away
            found = _read_holder(lease)
            if found == holder:
                os.utime(lease)
                last_beat = time.monotonic()
        is_silent = time.monotonic() - last_beat > stale_seconds
        if found in (None, holder) and not is_silent:
            continue
        if not stopped.is_set():
            complain(f"{lease} was taken over by another job, or cannot be kept")
            on_lost()
        return


def is_held_here(path: Path) -> bool:
    """Whether this process holds the lease on a run directory."""
    holder = _read_holder(path / LEASE)
    return holder is not None and holder.is_same_process(_Holder.this_process())


def is_abandoned(path: Path, *, stale_seconds: float) -> bool:
    """Whether nobody holds a run directory; ``stale_seconds`` as ``hold_lease`` takes it."""
    lease = path / LEASE
    try:
        silent = time.time() - lease.stat().st_mtime
    except FileNotFoundError:
        return True
    holder = _read_holder(lease)
    if holder is None:
        return silent > _WRITING_SECONDS
    return holder.has_lost(silent_seconds=silent, stale_seconds=stale_seconds)


def find_last_sign(path: Path) -> float | None:
    """Return when the lease on a run directory was last touched, in Unix seconds; None for none."""
    try:
        return (path / LEASE).stat().st_mtime
    except FileNotFoundError:
        return None


def _acquire(lease: Path, holder: _Holder, *, stale_seconds: float) -> None:
    content = json.dumps(asdict(holder)).encode()
    while True:
        try:
            descriptor = os.open(lease, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            _discard_if_dead(lease, by=holder, stale_seconds=stale_seconds)
            continue
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        return


def _discard_if_dead(lease: Path, *, by: _Holder, stale_seconds: float) -> None:
    """Remove a lease whose holder is gone; raise where it is alive."""
    try:
        silent = time.time() - lease.stat().st_mtime
    except FileNotFoundError:
        return  # released at this very moment
    holder = _read_holder(lease)
    if holder is None:
        if silent < _WRITING_SECONDS:
            time.sleep(_WRITING_SECONDS)
            return
    elif not holder.has_lost(silent_seconds=silent, stale_seconds=stale_seconds):
        raise HeldError(
            f"the run {lease.parent.name} is being written by process {holder.pid} on "
            f"{holder.host} (last heard {silent:.0f} s ago). Wait for it or stop it; a changed "
            "configuration, or another name=, gets a run of its own."
        )
    # Moved away first: of several contenders only one moves it, and looks again at what it moved.
    moved = lease.with_name(f".{LEASE}.{by.nonce}")
    with suppress(FileNotFoundError):
        lease.rename(moved)
        if _read_holder(moved) == holder:
            moved.unlink()
        else:  # somebody else was faster, and holds it
            moved.rename(lease)


def _read_holder(lease: Path) -> _Holder | None:
    """Return who holds it; None where there is no lease, or one that no holder has written."""
    try:
        return _Holder(**json.loads(lease.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
