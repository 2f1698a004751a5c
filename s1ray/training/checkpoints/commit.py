"""When a checkpoint exists: its manifest is written last, and says what every file must hash to.

It knows files and digests. It does not know tensors, ranks or when to save; nothing here needs
torch.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from s1ray.model_source.staging import flush_directory
from s1ray.records import CheckpointRef

MANIFEST_FILE = "manifest.json"
FORMAT_VERSION = 1


class CheckpointKind(StrEnum):
    """Why a checkpoint was saved, and so how long it stays."""

    PERMANENT = "permanent"
    TEMPORARY = "temporary"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """A file of the payload."""

    num_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a checkpoint holds and where in the run it belongs."""

    step: int
    samples_consumed: int
    kind: CheckpointKind
    world_size: int
    """Ranks that wrote it; any number can load it."""
    identity: Mapping[str, str]
    """What must be equal in the run that goes on from it: name to digest or value."""
    time: float
    """Unix seconds of the commit."""
    files: Mapping[str, FileRecord]


def record_file(path: Path) -> FileRecord:
    """Return a file's size and digest."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRecord(num_bytes=path.stat().st_size, sha256=digest)


def write_manifest(checkpoint: Path, manifest: Manifest) -> None:
    """Make a checkpoint exist: the last thing that is written of it, whole or not at all."""
    content = asdict(manifest) | {"format_version": FORMAT_VERSION}
    content["digest"] = _digest(content)
    draft = checkpoint / f"{MANIFEST_FILE}.draft"
    with draft.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    flush_directory(checkpoint)
    draft.rename(checkpoint / MANIFEST_FILE)
    flush_directory(checkpoint)
    flush_directory(checkpoint.parent)


def read_manifest(checkpoint: Path) -> Manifest:
    """Return a checkpoint's manifest, its own digest verified.

    Raises:
        ValueError: There is none, or it is torn or from another version.
        OSError: The disk does not give it.
    """
    path = checkpoint / MANIFEST_FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = content.pop("digest")
        is_whole = found == _digest(content)
        version = content.pop("format_version")
    except FileNotFoundError as error:
        raise ValueError(
            f"{checkpoint} has no {MANIFEST_FILE}, so it was never committed. Point to a "
            "checkpoint that has one, or set checkpoint.resume=auto."
        ) from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is torn ({type(error).__name__}: {error}).") from error
    if not is_whole:
        raise ValueError(f"{path} has been changed: its digest differs.")
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format {version}; this version reads {FORMAT_VERSION}. Resume with the "
            "version of s1ray that wrote it."
        )
    files = {name: FileRecord(**record) for name, record in content.pop("files").items()}
    kind = CheckpointKind(content.pop("kind"))
    return Manifest(**content, kind=kind, files=files)


def find_damage(checkpoint: Path, *, num_threads: int) -> str | None:
    """Return what is wrong with a checkpoint, every file hashed; None where all is well.

    A file that the disk does not give is damage like any other: an earlier checkpoint may be good.
    """
    try:
        manifest = read_manifest(checkpoint)
    except ValueError as error:
        return str(error)
    except OSError as error:
        return f"{MANIFEST_FILE} cannot be read: {error}"

    def check(name: str) -> str | None:
        try:
            return _find_file_damage(checkpoint / name, manifest.files[name])
        except OSError as error:
            return f"{name} cannot be read: {error}"

    with ThreadPoolExecutor(num_threads) as pool:
        damage = [reason for reason in pool.map(check, sorted(manifest.files)) if reason]
    return "; ".join(damage) or None


def _find_file_damage(path: Path, expected: FileRecord) -> str | None:
    if not path.is_file():
        return f"{path.name} is missing"
    if path.stat().st_size != expected.num_bytes:
        return f"{path.name} has {path.stat().st_size} bytes, not {expected.num_bytes}"
    if record_file(path).sha256 != expected.sha256:
        return f"{path.name} has another sha256 than when it was saved"
    return None


def check_drift(
    manifest: Manifest, *, identity: Mapping[str, str], allow_drift: tuple[str, ...]
) -> None:
    """Check that a run may go on from a checkpoint.

    Raises:
        ValueError: A part of the identity differs and is not allowed to.
    """
    names = sorted(set(manifest.identity) | set(identity))
    unknown = sorted(set(allow_drift) - set(names))
    if unknown:
        raise ValueError(
            f"checkpoint.allow_drift names {', '.join(unknown)}. Legal: {', '.join(names)}."
        )
    drifted = [name for name in names if manifest.identity.get(name) != identity.get(name)]
    refused = [name for name in drifted if name not in allow_drift]
    if refused:
        differences = "; ".join(
            f"{name} is {identity.get(name)} and was {manifest.identity.get(name)}"
            for name in refused
        )
        raise ValueError(
            f"the checkpoint of step {manifest.step} belongs to another run: {differences}. Undo "
            "the change, start over with checkpoint.resume=never, or go on all the same with "
            f"checkpoint.allow_drift=[{','.join(drifted)}]."
        )


def name_checkpoint(directory: Path, *, step: int) -> Path:
    """Create and return the directory of a checkpoint to be; a damaged one is never overwritten."""
    attempt = 0
    while True:
        checkpoint = directory / f"step_{step:08d}.a{attempt}"
        try:
            checkpoint.mkdir(parents=True)
        except FileExistsError:
            attempt += 1
        else:
            return checkpoint


def to_reference(checkpoint: Path, manifest: Manifest) -> CheckpointRef:
    """Return how the rest of the house calls a checkpoint."""
    return CheckpointRef(
        path=str(checkpoint), step=manifest.step, samples_consumed=manifest.samples_consumed
    )


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
