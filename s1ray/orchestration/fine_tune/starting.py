"""Where a fine-tune begins: which checkpoint it goes on from, and whether it may.

What cannot be gone on from is refused here, before any worker is started. What turns away from
later checkpoints does so once: the same command again goes on.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from s1ray.config.checkpoint import CheckpointConfig
from s1ray.orchestration.run_directory.runs import (
    RefusedError,
    Run,
    hash_file,
    update_description,
    write_json,
)
from s1ray.orchestration.terminal import say
from s1ray.records import CheckpointRef
from s1ray.training.checkpoints.commit import MANIFEST_FILE, check_drift, read_manifest
from s1ray.training.checkpoints.search import choose_checkpoint, list_committed
from s1ray.training.fine_tune import CHECKPOINTS

DATA = "data"
ORIGIN = "origin"
ROLLBACK = "rollback.json"
"""The ``checkpoint.resume`` for which the run's later checkpoints were deleted."""
_WORDS = ("auto", "must", "never")


def identify_origin(config: CheckpointConfig, run: Run) -> dict[str, str]:
    """Return what a start from another run's checkpoint adds to the identity of a run.

    Args:
        config: ``resume``.
        run: As it would be named without an origin.

    Raises:
        ValueError: ``resume`` is a path of no checkpoint.
    """
    if config.resume in _WORDS or _is_own(config.resume, run):
        return {}
    checkpoint = Path(config.resume).expanduser()
    read_manifest(checkpoint)
    return {ORIGIN: hash_file(checkpoint / MANIFEST_FILE)}


def _is_own(resume: str, run: Run) -> bool:
    return Path(resume).expanduser().resolve().is_relative_to(run.path.resolve())


def settle_resume(config: CheckpointConfig, run: Run) -> str:
    """Return ``resume``, or ``auto`` where it has been done and the run goes on from there.

    Args:
        config: ``resume``.
        run: Begun or not; a finished one starts over as often as it is asked to.
    """
    is_again = config.resume == "never" and run.is_finished
    if is_again or _read_rollback(run) != _name_rollback(config.resume, run):
        return config.resume
    return "auto"


def _name_rollback(resume: str, run: Run) -> str:
    """Return what is remembered of a ``resume`` that deletes checkpoints; empty for others."""
    if resume in _WORDS:
        return resume if resume == "never" else ""
    if not _is_own(resume, run):
        return ""
    return str(Path(resume).expanduser().resolve().relative_to(run.path.resolve()))


def _read_rollback(run: Run) -> str | None:
    try:
        resume: str = json.loads((run.path / ROLLBACK).read_text(encoding="utf-8"))["resume"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    return resume


def check_start(config: CheckpointConfig, run: Run, *, identity: Mapping[str, str]) -> None:
    """Check what can be known of a run's start while its data may not be there yet.

    Args:
        config: ``resume`` and ``allow_drift``.
        run: Not begun.
        identity: Of its checkpoints, without the data.

    Raises:
        ValueError: There is nothing to resume from, or it belongs to another run.
    """
    resume = settle_resume(config, run)
    if resume in ("auto", "never"):
        return
    if resume == "must":
        if not list_committed(run.path / CHECKPOINTS):
            raise ValueError(
                f"checkpoint.resume=must, but the run {run.name} has no checkpoint in {run.path}. "
                "A changed configuration is another run; set checkpoint.resume=auto to start from "
                "the beginning, or to the path of another run's checkpoint."
            )
        return
    manifest = read_manifest(Path(resume).expanduser())
    known = {**identity, DATA: manifest.identity.get(DATA, "")}
    check_drift(manifest, identity=known, allow_drift=config.allow_drift)


def choose_start(
    config: CheckpointConfig, run: Run, *, resume: str, identity: Mapping[str, str]
) -> Path | None:
    """Return a checkpoint outside the run that it begins from, while the run's lease is held.

    A checkpoint of the run's own is found again by its workers, also after one of them died.

    Args:
        config: What was asked for.
        run: Its directory is there.
        resume: From ``settle_resume``, before anything of the run was deleted.
        identity: Of its checkpoints.

    Raises:
        RefusedError: There is nothing good to resume from, or it belongs to another run.
    """
    own = run.path / CHECKPOINTS
    if resume not in _WORDS and not _is_own(resume, run) and list_committed(own):
        resume = "auto"  # the same command again: it has begun from there before
    try:
        with _remember_rollback(config.resume, run, is_done=resume != config.resume):
            search = choose_checkpoint(own, resume=resume, num_threads=config.verify_threads)
        if search.newest is None:
            return None
        manifest = read_manifest(Path(search.newest.path))
        check_drift(manifest, identity=identity, allow_drift=config.allow_drift)
    except ValueError as error:
        raise RefusedError(str(error)) from error
    return _announce(search.newest, run)


@contextmanager
def _remember_rollback(asked: str, run: Run, *, is_done: bool) -> Iterator[None]:
    """Write what was asked for once the block has done it; a kill within has it done again."""
    marker, name = run.path / ROLLBACK, _name_rollback(asked, run)
    if name and is_done:
        say(f"  checkpoint.resume={asked} was done before; to do it again, remove {marker}")
    else:
        marker.unlink(missing_ok=True)
    yield
    if name and not is_done:
        write_json(marker, {"resume": name})


def _announce(start: CheckpointRef, run: Run) -> Path | None:
    say(f"  resuming after step {start.step}: {start.path}")
    update_description(run, resumed_from=start.path)
    path = Path(start.path)
    return None if path.is_relative_to(run.path) else path
