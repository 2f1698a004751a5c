"""A training state on disk: each rank writes its part, then the checkpoint is committed.

It knows tensors, ranks and the order in which things are written. It does not know when to save.
"""

import shutil
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.checkpoint import state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.optim import Optimizer

from s1ray.model_source.staging import can_grow, explain_disk_full, flush_file, is_disk_full
from s1ray.records import CheckpointRef
from s1ray.training.checkpoints.commit import (
    CheckpointKind,
    FileRecord,
    Manifest,
    record_file,
    to_reference,
    write_manifest,
)
from s1ray.training.checkpoints.peers import Peers
from s1ray.training.network.model import plain_name

METADATA_FILE = ".metadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where in a run a checkpoint is taken, and of which run."""

    step: int
    samples_consumed: int
    kind: CheckpointKind
    identity: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What one rank has written, or why it could not."""

    files: Mapping[str, FileRecord]
    failures: Mapping[int, str]
    """By rank; torch tells every rank of all."""
    is_disk_full: bool


def collect_tensors(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Return what training changes, by a name that does not depend on how the model is wrapped.

    These are the trained parameters and their optimizer state: with adapters, the adapters alone.
    Tied parameters appear once. The tensors are the live ones, not copies.
    """
    tensors = {}
    for full_name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        name = plain_name(full_name)
        tensors[f"model.{name}"] = parameter.detach()
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{name}.{key}"] = value
    return tensors


def read_random_state() -> dict[str, Tensor]:
    """Return this process's random number generators, for ``write_checkpoint``."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def write_checkpoint(
    tensors: Mapping[str, Tensor],
    random_state: Mapping[str, Tensor],
    checkpoint: Path,
    *,
    position: Position,
    peers: Peers,
) -> CheckpointRef:
    """Write payload, digests and manifest, in this order; a collective call.

    Args:
        tensors: From ``collect_tensors``, or copies of them.
        random_state: From ``read_random_state``.
        checkpoint: An empty directory, the same on every rank.
        position: Goes into the manifest.
        peers: All ranks; training may communicate over other groups meanwhile.

    Raises:
        OSError: The disk is full; what was written of this checkpoint is gone.
        RuntimeError: A rank could not write its part. Every rank raises alike.
    """
    parts = peers.gather(_write_part(tensors, random_state, checkpoint, peers=peers))

    def commit() -> CheckpointRef:
        try:
            _raise_failures(parts, checkpoint)
            manifest = Manifest(
                step=position.step,
                samples_consumed=position.samples_consumed,
                kind=position.kind,
                world_size=peers.world_size,
                identity=dict(position.identity),
                time=time.time(),
                files={name: record for part in parts for name, record in part.files.items()},
            )
            write_manifest(checkpoint, manifest)
        except (OSError, RuntimeError) as error:
            shutil.rmtree(checkpoint, ignore_errors=True)
            if is_disk_full(error):
                raise explain_disk_full(error, path=checkpoint) from error
            raise
        return to_reference(checkpoint, manifest)

    return peers.decide(commit)


def _write_part(
    tensors: Mapping[str, Tensor],
    random_state: Mapping[str, Tensor],
    checkpoint: Path,
    *,
    peers: Peers,
) -> _Part:
    silence_single_process_warning()
    try:
        state_dict_saver.save(
            dict(tensors),
            storage_writer=FileSystemWriter(checkpoint),
            process_group=peers.group,
            no_dist=peers.group is None,
        )
        random_file = checkpoint / random_file_name(peers.rank)
        save_file(dict(random_state), random_file)
        flush_file(random_file)
        written = [random_file, *checkpoint.glob(f"__{peers.rank}_*.distcp")]
        if peers.rank == 0:
            written.append(checkpoint / METADATA_FILE)
        files = {path.name: record_file(path) for path in written}
    # torch's CheckpointException is a BaseException, so that Exception alone would miss it.
    except (CheckpointException, Exception) as error:
        # torch.save can hide what the system said behind a complaint about positions.
        is_full = is_disk_full(error) or not can_grow(checkpoint)
        failures = describe_failures(error, rank=peers.rank)
        return _Part(files={}, failures=failures, is_disk_full=is_full)
    return _Part(files=files, failures={}, is_disk_full=False)


def describe_failures(error: BaseException, *, rank: int) -> dict[int, str]:
    """Return what went wrong, by rank, without the stack traces that torch puts into its text."""
    if isinstance(error, CheckpointException):
        return {rank: _describe(failure) for rank, (failure, _) in error.failures.items()}
    return {rank: _describe(error)}


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _raise_failures(parts: list[_Part], checkpoint: Path) -> None:
    failures = {rank: text for part in parts for rank, text in part.failures.items()}
    text = "; ".join(f"rank {rank}: {failures[rank]}" for rank in sorted(failures))
    if any(part.is_disk_full for part in parts):
        raise explain_disk_full(OSError(text), path=checkpoint)
    if failures:
        raise RuntimeError(
            f"{checkpoint} could not be written; earlier checkpoints are untouched. {text}"
        )


def random_file_name(rank: int) -> str:
    """Return the name of the file with a rank's random number generators."""
    return f"random_{rank}.safetensors"


def silence_single_process_warning() -> None:
    """Let a run on one process be no cause for a warning from torch."""
    warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or")
