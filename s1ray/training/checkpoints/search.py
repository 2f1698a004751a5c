"""Which of a run's checkpoints to go on from, and which to delete.

It knows manifests and directories. It does not know tensors, ranks or when to save. Whoever
deletes holds the run's lease.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from s1ray.records import CheckpointRef
from s1ray.training.checkpoints.commit import (
    MANIFEST_FILE,
    CheckpointKind,
    find_damage,
    read_manifest,
    to_reference,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """A checkpoint that cannot be used."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSearch:
    """What was found in a directory of checkpoints."""

    newest: CheckpointRef | None
    passed_over: tuple[PassedOver, ...]
    """Newer ones that are damaged."""


def find_newest_checkpoint(directory: Path, *, num_threads: int) -> CheckpointSearch:
    """Return the newest checkpoint whose files are what they were, and the damaged newer ones."""
    passed_over: list[PassedOver] = []
    for checkpoint in sorted(list_committed(directory), key=_order, reverse=True):
        damage = find_damage(checkpoint, num_threads=num_threads)
        if damage is None:
            newest = to_reference(checkpoint, read_manifest(checkpoint))
            return CheckpointSearch(newest=newest, passed_over=tuple(passed_over))
        passed_over.append(PassedOver(path=str(checkpoint), reason=damage))
    return CheckpointSearch(newest=None, passed_over=tuple(passed_over))


def choose_checkpoint(directory: Path, *, resume: str, num_threads: int) -> CheckpointSearch:
    """Return what a run goes on from, as ``CheckpointConfig.resume`` asks.

    Call it from one process that holds the run's lease, because it deletes: what was never
    committed, with ``never`` all of the run's checkpoints, with a path the run's later ones (a
    later ``auto`` would otherwise go on from what was turned away from).

    Raises:
        ValueError: ``must`` and there is none, or the path names none that is whole.
    """
    if resume == "never":
        shutil.rmtree(directory, ignore_errors=True)
        return CheckpointSearch(newest=None, passed_over=())
    remove_orphans(directory)
    if resume in ("auto", "must"):
        search = find_newest_checkpoint(directory, num_threads=num_threads)
        if search.newest is None and resume == "must":
            damage = "".join(f" {item.path}: {item.reason}." for item in search.passed_over)
            raise ValueError(
                f"checkpoint.resume=must, but {directory} holds no good checkpoint.{damage} Set "
                "checkpoint.resume=auto to start from the beginning."
            )
        return search
    checkpoint = Path(resume).expanduser().resolve()
    damage_found = find_damage(checkpoint, num_threads=num_threads)
    if damage_found is not None:
        raise ValueError(
            f"checkpoint.resume={resume!r} cannot be resumed from: {damage_found}. Legal: auto, "
            f"must, never, or the path of a checkpoint (a directory with a {MANIFEST_FILE})."
        )
    for later in list_committed(directory):
        if checkpoint.parent == directory.resolve() and _order(later) > _order(checkpoint):
            _delete(later)
    newest = to_reference(checkpoint, read_manifest(checkpoint))
    return CheckpointSearch(newest=newest, passed_over=())


def remove_orphans(directory: Path) -> tuple[Path, ...]:
    """Delete what was being written when a process died, and return it.

    What a disk holds back (NFS keeps a deleted file while somebody has it open) is left to the next
    start: it is no checkpoint, and no reason not to begin.
    """
    if not directory.is_dir():
        return ()
    orphans = tuple(
        path for path in sorted(directory.iterdir()) if not _has_manifest(path) and path.is_dir()
    )
    for path in orphans:
        shutil.rmtree(path, ignore_errors=True)
    return orphans


def apply_retention(
    directory: Path, *, committed: Path, keep_permanent: int | None, keep_temporary: int
) -> tuple[Path, ...]:
    """Delete all but the newest checkpoints of each kind, and return the deleted ones.

    The newest is the one just committed, and it stays. Later ones are of a future that the run gave
    up: it found them damaged and went on from before them. Temporary ones of these are deleted, for
    the new one does what they were for; permanent ones stay and do not count until the run has come
    past them. So does one whose manifest cannot be read: it is no longer known what it was.

    Args:
        directory: Holds the run's checkpoints.
        committed: The checkpoint that the run has reached.
        keep_permanent: Number of permanent ones; None for all.
        keep_temporary: Number of temporary ones.
    """
    readable = []
    for checkpoint in sorted(list_committed(directory), key=_order):
        try:
            readable.append((checkpoint, read_manifest(checkpoint).kind))
        except (ValueError, OSError):
            continue
    reached = [item for item in readable if _order(item[0]) <= _order(committed)]
    permanent = [path for path, kind in reached if kind is CheckpointKind.PERMANENT]
    temporary = [path for path, kind in reached if kind is CheckpointKind.TEMPORARY]
    given_up = [path for path, kind in readable[len(reached) :] if kind is CheckpointKind.TEMPORARY]
    surplus = [] if keep_permanent is None else permanent[:-keep_permanent]
    removed = tuple(surplus + temporary[:-keep_temporary] + given_up)
    for checkpoint in removed:
        _delete(checkpoint)
    return removed


def _delete(checkpoint: Path) -> None:
    # Without its manifest it is an orphan, should this process die half-way or the disk hold a file
    # back; a later start removes the rest.
    (checkpoint / MANIFEST_FILE).unlink()
    shutil.rmtree(checkpoint, ignore_errors=True)


def list_committed(directory: Path) -> list[Path]:
    """Return the checkpoints that were committed, in no order; their files are not looked at."""
    if not directory.is_dir():
        return []
    return [path for path in directory.iterdir() if _has_manifest(path)]


def _has_manifest(checkpoint: Path) -> bool:
    try:
        (checkpoint / MANIFEST_FILE).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        # The disk does not say. So it is no orphan to delete; whoever reads it finds it damaged.
        return True
    return True


def _order(checkpoint: Path) -> tuple[int, int]:
    """Sort by step, then by attempt; the name says both, even where the manifest is torn."""
    step, _, attempt = checkpoint.name.removeprefix("step_").partition(".a")
    return (int(step), int(attempt)) if step.isdigit() and attempt.isdigit() else (-1, 0)
