"""A checkpoint becomes a training state again, on any number of ranks.

It knows how a checkpoint's files are read without running anything that they contain. It does not
know which checkpoint to choose.
"""

import pickle
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.checkpoint import state_dict_loader
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata
from torch.optim import Optimizer

from s1ray.training.checkpoints.checkpoint import (
    METADATA_FILE,
    collect_tensors,
    describe_failures,
    random_file_name,
    silence_single_process_warning,
)
from s1ray.training.checkpoints.commit import Manifest, check_drift, read_manifest
from s1ray.training.checkpoints.peers import Peers
from s1ray.training.loop import TrainState
from s1ray.training.network.model import plain_name

PLAIN_CLASSES = frozenset(
    {
        ("pathlib", "PosixPath"),
        ("pathlib._local", "PosixPath"),
        ("torch", "Size"),
        ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
        ("torch.distributed.checkpoint.metadata", "ChunkStorageMetadata"),
        ("torch.distributed.checkpoint.metadata", "Metadata"),
        ("torch.distributed.checkpoint.metadata", "MetadataIndex"),
        ("torch.distributed.checkpoint.metadata", "StorageMeta"),
        ("torch.distributed.checkpoint.metadata", "TensorProperties"),
        ("torch.distributed.checkpoint.metadata", "TensorStorageMetadata"),
        ("torch.distributed.checkpoint.metadata", "_MEM_FORMAT_ENCODING"),
        ("torch.serialization", "_get_layout"),
    }
)
"""What the metadata of a checkpoint of tensors consists of."""


def load_checkpoint(
    state: TrainState,
    checkpoint: Path,
    *,
    identity: Mapping[str, str],
    allow_drift: tuple[str, ...],
    peers: Peers,
) -> Manifest:
    """Bring a freshly built state to where a checkpoint was taken; a collective call.

    The random number generators follow where as many ranks load as saved; a step's result does
    not depend on them. The files' digests are not read again: choose the checkpoint with
    ``search``.

    Args:
        state: Built as for the first step; changed in place.
        checkpoint: Written by any number of ranks.
        identity: Of this run.
        allow_drift: Parts of the identity that may differ.
        peers: All ranks.

    Raises:
        ValueError: The checkpoint is of another run or another model.
        RuntimeError: Its files cannot be read.
    """
    manifest = read_manifest(checkpoint)
    check_drift(manifest, identity=identity, allow_drift=allow_drift)
    reader = _PlainReader(checkpoint)
    stored = _read_tensor_metadata(reader)
    _make_room(state.model, state.optimizer, stored)
    tensors = collect_tensors(state.model, state.optimizer)
    _check_shapes(tensors, stored, checkpoint)
    _load(tensors, reader, peers)
    state.step, state.samples_consumed = manifest.step, manifest.samples_consumed
    if manifest.world_size == peers.world_size:
        _restore_random_state(checkpoint / random_file_name(peers.rank))
    return manifest


def read_checkpoint(checkpoint: Path) -> dict[str, Tensor]:
    """Return every tensor of a checkpoint, whole and by name, on one process without a model.

    Raises:
        ValueError: It holds something else than tensors, or its metadata cannot be read.
        RuntimeError: Its files cannot be read.
    """
    reader = _PlainReader(checkpoint)
    tensors = {
        name: torch.empty(metadata.size, dtype=metadata.properties.dtype)
        for name, metadata in _read_tensor_metadata(reader).items()
    }
    _load(tensors, reader, Peers(rank=0, world_size=1, group=None))
    return tensors


def _load(tensors: Mapping[str, Tensor], reader: "_PlainReader", peers: Peers) -> None:
    """Fill tensors in place from a checkpoint; a collective call."""
    silence_single_process_warning()
    try:
        state_dict_loader.load(
            dict(tensors),
            storage_reader=reader,
            process_group=peers.group,
            no_dist=peers.group is None,
        )
    except CheckpointException as error:
        raise RuntimeError(
            f"{reader.checkpoint_id} cannot be read: {describe_failures(error, rank=peers.rank)}. "
            "Set checkpoint.resume=auto to go on from an earlier checkpoint."
        ) from error


def _restore_random_state(path: Path) -> None:
    states = load_file(path)
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def _make_room(
    model: nn.Module, optimizer: Optimizer, stored: Mapping[str, TensorStorageMetadata]
) -> None:
    """Give the optimizer the state that its first step would create, for loading into."""
    groups = {p: group for group in optimizer.param_groups for p in group["params"]}
    parameters = {
        plain_name(name): parameter
        for name, parameter in model.named_parameters()
        if parameter in groups
    }
    for full_name, metadata in stored.items():
        kind, _, rest = full_name.partition(".")
        name, _, key = rest.rpartition(".")
        if kind != "optimizer" or name not in parameters:
            continue
        parameter, dtype = parameters[name], metadata.properties.dtype
        if tuple(metadata.size) == tuple(parameter.shape):
            room = torch.zeros_like(parameter, dtype=dtype, requires_grad=False)
        else:  # the step count, which lies where the optimizer's kernel wants it
            group = groups[parameter]
            is_on_device = group.get("fused") or group.get("capturable")
            device = parameter.device if is_on_device else torch.device("cpu")
            room = torch.zeros(metadata.size, dtype=dtype, device=device)
        optimizer.state[parameter][key] = room


def _check_shapes(
    tensors: Mapping[str, Tensor], stored: Mapping[str, TensorStorageMetadata], checkpoint: Path
) -> None:
    ours = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    theirs = {name: tuple(metadata.size) for name, metadata in stored.items()}
    different = sorted(n for n in ours.keys() | theirs.keys() if ours.get(n) != theirs.get(n))
    if different:
        name = different[0]
        raise ValueError(
            f"{checkpoint} holds another model: {len(different)} tensors differ, the first is "
            f"{name} (run: {ours.get(name)}, checkpoint: {theirs.get(name)}). Choose the model and "
            "training.lora that it was saved with, or start over with checkpoint.resume=never."
        )


def _read_tensor_metadata(reader: "_PlainReader") -> dict[str, TensorStorageMetadata]:
    stored = reader.read_metadata().state_dict_metadata
    tensors = {n: item for n, item in stored.items() if isinstance(item, TensorStorageMetadata)}
    if len(tensors) != len(stored):
        strange = sorted(stored.keys() - tensors.keys())[0]
        raise ValueError(
            f"{reader.checkpoint_id} holds {strange}, which is no tensor and is not loaded: it "
            "could run code. Use a checkpoint that s1ray wrote."
        )
    return tensors


class _PlainUnpickler(pickle.Unpickler):
    """Builds the records of a checkpoint's metadata and nothing else."""

    def find_class(self, module: str, name: str, /) -> Any:  # noqa: ANN401 - as pickle types it
        if (module, name) == ("builtins", "getattr"):
            return _find_member
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if is_dtype or (module, name) in PLAIN_CLASSES:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} does not belong into a checkpoint")


def _find_member(enumeration: object, name: str) -> Enum:
    """Return an enumeration's member, as Python before 3.11.4 writes one: a getattr of its class.

    Raises:
        UnpicklingError: It is none; of other classes attributes could be anything.
    """
    members: Mapping[str, Enum] = {}
    if isinstance(enumeration, type) and issubclass(enumeration, Enum):
        members = enumeration.__members__
    if name not in members:
        raise pickle.UnpicklingError(f"{name} of {enumeration} does not belong into a checkpoint")
    return members[name]


class _PlainReader(FileSystemReader):
    """Reads a checkpoint without trusting it: torch's own reader unpickles its metadata."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:  # noqa: ANN401
        path = Path(self.checkpoint_id) / METADATA_FILE
        try:
            with path.open("rb") as file:
                metadata: Metadata = _PlainUnpickler(file).load()
        except (OSError, pickle.UnpicklingError, EOFError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{path} cannot be read: {error}. Use a checkpoint that s1ray wrote, or set "
                "checkpoint.resume=auto to go on from an earlier one."
            ) from error
        if metadata.storage_meta is None:
            metadata.storage_meta = StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata
