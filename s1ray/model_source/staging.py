"""Directories that appear whole or not at all.

It builds under a temporary name beside the target and renames at the end, and says plainly when a
disk is full. It does not know what it builds.
"""

import errno
import fcntl
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PROBE_BYTES = 1 << 20


def is_disk_full(error: BaseException) -> bool:
    """Whether an error means that a file could not grow: disk, quota or file size limit.

    Libraries written in Rust or C++ give the errno only in their text, so the text and what the
    error was raised from are searched too.
    """
    return _find_disk_full_line(error) is not None


def can_grow(directory: Path) -> bool:
    """Whether a directory's disk takes another megabyte.

    For asking after an error in which a library has lost what the system said.
    """
    probe = directory / f".{os.getpid()}.probe"
    try:
        probe.write_bytes(bytes(PROBE_BYTES))
        flush_file(probe)
    except OSError as error:
        return not is_disk_full(error)
    finally:
        with suppress(OSError):
            probe.unlink()
    return True


def _find_disk_full_line(error: BaseException) -> str | None:
    texts = [os.strerror(number) for number in DISK_FULL_ERRNOS]
    texts += [f"(os error {number})" for number in DISK_FULL_ERRNOS]
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in DISK_FULL_ERRNOS:
            return str(cause)
        for line in str(cause).splitlines():
            if any(text in line for text in texts):
                return line.strip()
        cause = cause.__cause__ or cause.__context__
    return None


def explain_disk_full(error: BaseException, *, path: Path) -> OSError:
    """Return the error to raise in place of whatever a full disk made a library say."""
    mounted = path
    while not mounted.exists():
        mounted = mounted.parent
    free_gib = shutil.disk_usage(mounted).free / 2**30
    reason = _find_disk_full_line(error) or str(error)
    return OSError(
        errno.ENOSPC,
        f"cannot write {path}: the disk is full, or a quota or file size limit is reached "
        f"({free_gib:.1f} GiB free; {reason}). Nothing half-written is left there. Free some "
        "space, or set paths.storage or the cache directory to another disk",
    )


@contextmanager
def staged_directory(target: Path, *, is_replacing: bool) -> Iterator[Path]:
    """Yield an empty directory that becomes ``target`` when the block ends without an error.

    Files are flushed to the disk before the rename and are as readable as the umask allows. A
    target has one writer at a time; what killed ones left beside it is removed first.

    Args:
        target: Appears complete, or is left as it was.
        is_replacing: Whether an existing target gives way; otherwise it is an error.

    Raises:
        OSError: The disk is full (``ENOSPC``), or the target exists and is not to be replaced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_over(target)
    staging = target.parent / f".{target.name}.{os.getpid()}.partial"
    staging.mkdir()
    try:
        yield staging
        flush_tree(staging)
        if is_replacing and target.exists():
            _replace(target, staging)
        else:
            staging.rename(target)
        flush_directory(target.parent)
    except BaseException as error:
        shutil.rmtree(staging, ignore_errors=True)
        if isinstance(error, Exception) and is_disk_full(error):
            raise explain_disk_full(error, path=target) from error
        raise


def _replace(target: Path, staging: Path) -> None:
    """Put one directory in another's place; where that fails, the other is there as before."""
    old = target.parent / f".{target.name}.{os.getpid()}.old"
    shutil.rmtree(old, ignore_errors=True)
    try:
        target.rename(old)
        staging.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    # What cannot be deleted now is left over for the next writer.
    shutil.rmtree(old, ignore_errors=True)


def _remove_left_over(target: Path) -> None:
    """Delete what killed writers of a target left beside it.

    Killed between its two renames, a writer has left the old target alone: that comes back.

    Whether a writer on another host lives is not known here; that there is one at a time, is.
    """
    name = re.compile(rf"\.{re.escape(target.name)}\.(\d+)\.(partial|old)")
    for path in list(target.parent.iterdir()):
        match = name.fullmatch(path.name)
        if match is None or _is_another_process(int(match[1])):
            continue
        if match[2] == "old" and not target.exists():
            path.rename(target)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _is_another_process(pid: int) -> bool:
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def flush_tree(root: Path) -> None:
    """Flush every file below a directory to the disk and give it the directory's permissions.

    Some writers create files that only their owner can read, which a shared disk cannot use.
    """
    mode = stat.S_IMODE(root.stat().st_mode) & 0o666
    for path in sorted(root.rglob("*")):
        if path.is_file():
            path.chmod(mode)
            flush_file(path)
    for path in (root, *(p for p in root.rglob("*") if p.is_dir())):
        flush_directory(path)


def flush_file(path: Path) -> None:
    """Flush one file to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def flush_directory(path: Path) -> None:
    """Flush a directory's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def build_once(
    target: Path, build: Callable[[Path], None], *, on_progress: Callable[[str], None]
) -> Path:
    """Return ``target``, built by the first process that asks for it while the others wait.

    Args:
        target: The directory to build; one that exists is taken as it is.
        build: Fills the empty directory that it is given.
        on_progress: Is told when another process has to be waited for.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_progress(f"waiting for another process that builds {target}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if target.is_dir():
            return target
        for left_over in target.parent.glob(f".{target.name}.*.partial*"):
            shutil.rmtree(left_over, ignore_errors=True)
        with staged_directory(target, is_replacing=False) as staging:
            build(staging)
    return target
