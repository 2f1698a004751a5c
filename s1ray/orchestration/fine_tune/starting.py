"""Where a fine-tune begins: which checkpoint it goes on from, and whether it may.

What cannot be gone on from is refused here, before any worker is started.
"""

from collections.abc import Mapping
from pathlib import Path

from s1ray.config.checkpoint import CheckpointConfig
from s1ray.orchestration.run_directory.runs import RefusedError, Run, hash_file, update_description
from s1ray.orchestration.terminal import say
from s1ray.records import CheckpointRef
from s1ray.training.checkpoints.commit import MANIFEST_FILE, check_drift, read_manifest
from s1ray.training.checkpoints.search import choose_checkpoint, list_committed
from s1ray.training.fine_tune import CHECKPOINTS

DATA = "data"
ORIGIN = "origin"
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


def check_start(config: CheckpointConfig, run: Run, *, identity: Mapping[str, str]) -> None:
    """Check what can be known of a run's start while its data may not be there yet.

    Args:
        config: ``resume`` and ``allow_drift``.
        run: Not begun.
        identity: Of its checkpoints, without the data.

    Raises:
        ValueError: There is nothing to resume from, or it belongs to another run.
    """
    if config.resume in ("auto", "never"):
        return
    if config.resume == "must":
        if not list_committed(run.path / CHECKPOINTS):
            raise ValueError(
                f"checkpoint.resume=must, but the run {run.name} has no checkpoint in {run.path}. "
                "A changed configuration is another run; set checkpoint.resume=auto to start from "
                "the beginning, or to the path of another run's checkpoint."
            )
        return
    manifest = read_manifest(Path(config.resume).expanduser())
    known = {**identity, DATA: manifest.identity.get(DATA, "")}
    check_drift(manifest, identity=known, allow_drift=config.allow_drift)


def choose_start(config: CheckpointConfig, run: Run, *, identity: Mapping[str, str]) -> Path | None:
    """Return a checkpoint outside the run that it begins from, while the run's lease is held.

    A checkpoint of the run's own is found again by its workers, also after one of them died.

    Raises:
        RefusedError: There is nothing good to resume from, or it belongs to another run.
    """
    own, resume = run.path / CHECKPOINTS, config.resume
    if resume not in _WORDS and not _is_own(resume, run) and list_committed(own):
        resume = "auto"  # the same command again: it has begun from there before
    try:
        search = choose_checkpoint(own, resume=resume, num_threads=config.verify_threads)
        if search.newest is None:
            return None
        manifest = read_manifest(Path(search.newest.path))
        check_drift(manifest, identity=identity, allow_drift=config.allow_drift)
    except ValueError as error:
        raise RefusedError(str(error)) from error
    return _announce(search.newest, run)


def _announce(start: CheckpointRef, run: Run) -> Path | None:
    say(f"  resuming after step {start.step}: {start.path}")
    update_description(run, resumed_from=start.path)
    path = Path(start.path)
    return None if path.is_relative_to(run.path) else path
