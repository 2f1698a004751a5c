"""A run's name, its directory, and whether it is finished.

A run is named by everything that changes its result and nothing that does not; the name is the
directory, the Ray run name and the W&B run id. This module knows no stage, no ray and no wandb.
"""

import hashlib
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from s1ray.config.base import Section
from s1ray.model_source.staging import flush_directory, flush_file
from s1ray.orchestration.run_directory.provenance import (
    DIFF,
    ENVIRONMENT,
    describe_process,
    list_environment,
)

MANIFEST = "manifest.json"
DESCRIPTION = "run.json"
_LEGAL_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class RefusedError(ValueError):
    """A run that cannot begin: its directory cannot be written, or somebody else holds it."""


class HeldError(RefusedError):
    """A run that somebody else is doing at this moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A named run and its directory."""

    name: str
    stage: str
    path: Path
    identity: Mapping[str, Any]

    @property
    def is_finished(self) -> bool:
        """Whether the run's manifest has been written and what it lists is there."""
        return read_manifest(self.path) is not None


def hash_identity(identity: Mapping[str, Any]) -> str:
    """Return 8 hex digits over a mapping of literals, the same in every process.

    Raises:
        ValueError: A value has no stable hash (only None, bool, int, finite float, str, and lists
            and mappings of these have one).
    """
    _check_literal(identity, "identity")
    text = json.dumps(identity, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _check_literal(value: Any, where: str) -> None:  # noqa: ANN401 - the check of what it is
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{where} has the key {key!r}; keys must be strings.")
            _check_literal(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _check_literal(inner, f"{where}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}; only finite numbers have a stable hash.")
    elif value is not None and not isinstance(value, bool | int | float | str):
        raise ValueError(
            f"{where} is a {type(value).__name__}, which has no stable hash. Pass None, a bool, a "
            "number, a string, or a list or mapping of these."
        )


def name_run(*, storage: Path, stage: str, slug: str, identity: Mapping[str, Any]) -> Run:
    """Return the run that this identity names, without touching the disk.

    Args:
        storage: Where runs lie.
        stage: Such as train.
        slug: The readable half of the name.
        identity: All that changes the run's result, as literals.

    Raises:
        ValueError: The slug cannot be a directory name, or the identity has no stable hash.
    """
    if not _LEGAL_SLUG.fullmatch(slug):
        raise ValueError(
            f"name={slug!r} cannot name a run: use 1 to 64 of a-z, 0-9, '_' and '-', "
            "beginning with a letter or a digit."
        )
    name = f"{slug}-{hash_identity({'stage': stage, **identity})}"
    return Run(name=name, stage=stage, path=storage / stage / name, identity=identity)


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or the one before."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: Path, content: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write JSON atomically; NaN and infinity are refused."""
    write_atomically(path, json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1))


def dump_config(config: Section) -> str:
    """Return a configuration as YAML, every value resolved."""
    return OmegaConf.to_yaml(OmegaConf.create(config.model_dump(mode="json")))


def begin_run(run: Run, *, config_yaml: str) -> None:
    """Make the run's directory and write what it is: configuration, code and environment.

    It is unfinished from here on, until ``finish_run``. ``run.json`` has the digest of an
    uncommitted change, which stands in a file of its own.

    Raises:
        RefusedError: The directory cannot be written.
    """
    make_directory(run)
    with refuse_unwritable(run):
        (run.path / MANIFEST).unlink(missing_ok=True)
        write_atomically(run.path / "config.yaml", config_yaml)
        described = describe_run(run)
        diff = described["git"]["dirty"]
        if diff:
            described["git"] |= {"dirty": hashlib.sha256(diff.encode()).hexdigest()}
            write_atomically(run.path / DIFF, diff)
        else:
            (run.path / DIFF).unlink(missing_ok=True)
        write_json(run.path / DESCRIPTION, described)
        write_atomically(run.path / ENVIRONMENT, list_environment())


def make_directory(run: Run) -> None:
    """Make the run's directory, where it is not there yet.

    Raises:
        RefusedError: It cannot be made.
    """
    with refuse_unwritable(run):
        run.path.mkdir(parents=True, exist_ok=True)


@contextmanager
def refuse_unwritable(run: Run) -> Iterator[None]:
    """Call it bad input, not a failure, where the block cannot write in the run's directory.

    Raises:
        RefusedError: It cannot.
    """
    try:
        yield
    except OSError as error:
        raise RefusedError(
            f"cannot write the run directory {run.path}: {error.strerror}. Free space there, or "
            "set paths.storage to a directory that can be written."
        ) from error


def describe_run(run: Run) -> dict[str, Any]:
    """Return the content of ``run.json`` as known at the start."""
    return {
        "name": run.name,
        "stage": run.stage,
        "identity": dict(run.identity),
        **describe_process(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "resumed_from": None,
        "seconds": {},
        "steps": {},
    }


def update_description(run: Run, **changes: Any) -> None:  # noqa: ANN401 - any JSON value
    """Replace keys of ``run.json``."""
    path = run.path / DESCRIPTION
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | changes)


def hash_file(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def finish_run(run: Run, *, files: Sequence[str], summary: Mapping[str, Any]) -> None:
    """Write the run's manifest, last: from here on the run exists and is never done again.

    What it lists outlives a power cut, since all of it is on the disk before.
    """
    for name in files:
        flush_file(run.path / name)
    for directory in {(run.path / name).parent for name in files}:
        flush_directory(directory)
    digests = {name: hash_file(run.path / name) for name in files}
    write_json(run.path / MANIFEST, {"name": run.name, "files": digests, "summary": dict(summary)})


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Return a finished run's manifest; None where there is none or a listed file is gone."""
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    complete = all((path / name).is_file() for name in manifest["files"])
    return manifest if complete else None


def read_summary(path: Path) -> dict[str, Any]:
    """Return what a finished run's manifest says of it.

    Raises:
        RuntimeError: The run is not finished, or something of it was removed.
    """
    manifest = read_manifest(path)
    if manifest is None:
        raise RuntimeError(
            f"{path} is no finished run: its {MANIFEST}, or a file that is listed there, is gone. "
            "Put it back, or run the same command again, which does that stage anew."
        )
    return dict(manifest["summary"])


def point_latest(storage: Path, run: Run) -> None:
    """Let ``<storage>/latest`` point at a run."""
    temporary = storage / f".latest.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(run.path.relative_to(storage))
    temporary.replace(storage / "latest")
