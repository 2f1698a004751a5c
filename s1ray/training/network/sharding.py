"""How a model lies on its ranks: meshes, FSDP2, mixed precision, activation checkpointing.

It does not know samples, steps or files. One process without a process group is a legal cluster.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    checkpoint_wrapper,
)
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
)
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

from s1ray.config.training import ActivationCheckpointing, ShardingConfig
from s1ray.training.network.model import PackedLanguageModel, find_decoder_layers

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """A process among the others."""

    device: torch.device
    rank: int
    world_size: int
    sequence_parallel: int
    """Neighbouring ranks that share each row."""
    shard_mesh: DeviceMesh | None
    """(replicate, shard), or (shard,); None for a single process."""
    sequence_group: dist.ProcessGroup | None
    """The ranks that share this rank's rows; None where each has its own."""

    @property
    def num_groups(self) -> int:
        """Groups of ranks that compute different samples."""
        return self.world_size // self.sequence_parallel

    @property
    def group(self) -> int:
        """Of this rank."""
        return self.rank // self.sequence_parallel

    @property
    def part(self) -> int:
        """Which part of its group's rows this rank has."""
        return self.rank % self.sequence_parallel

    def reduce(self, values: Tensor, *, is_maximum: bool) -> Tensor:
        """Return the sum or the maximum over all ranks, of one shape; the same bits on each."""
        if self.world_size > 1:
            dist.all_reduce(values, dist.ReduceOp.MAX if is_maximum else dist.ReduceOp.SUM)
        return values


def join_ranks(config: ShardingConfig) -> Ranks:
    """Return this process among the others, with the process group that is already there.

    Raises:
        ValueError: ``num_workers`` is not the number of processes, or CUDA is asked for in vain.
    """
    rank, world_size = (dist.get_rank(), dist.get_world_size()) if _is_grouped() else (0, 1)
    if world_size != config.num_workers:
        raise ValueError(
            f"sharding.num_workers={config.num_workers}, but {world_size} processes have joined. "
            "Start as many processes as sharding.num_workers says."
        )
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("sharding.device=cuda, but there is no CUDA device. Set it to cpu.")
    device = torch.device(config.device)
    if config.device == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    shape: tuple[int, ...] = (world_size,)
    names: tuple[str, ...] = ("shard",)
    if config.replicas > 1:
        shape = (config.replicas, world_size // config.replicas)
        names = ("replicate", "shard")
    return Ranks(
        device=device,
        rank=rank,
        world_size=world_size,
        sequence_parallel=config.sequence_parallel,
        shard_mesh=init_device_mesh(config.device, shape, mesh_dim_names=names)
        if world_size > 1
        else None,
        sequence_group=_join_sequence_group(config, world_size),
    )


def shard(
    model: PackedLanguageModel,
    *,
    ranks: Ranks,
    config: ShardingConfig,
    adapter_rank: int,
    compute: str,
    reduce: str,
) -> None:
    """Apply checkpointing, compilation and FSDP2 to a model, in this order, in place.

    Args:
        model: Usually still on the meta device.
        ranks: Where it lies.
        config: How.
        adapter_rank: 0 without adapters.
        compute: Dtype of forward and backward.
        reduce: Dtype in which gradients are summed over ranks.
    """
    layers = find_decoder_layers(model.causal_lm)
    for index, layer in enumerate(layers):
        layers[index] = _checkpoint(
            layer, config.activation_checkpointing, adapter_rank=adapter_rank
        )
        if config.compile:
            layers[index].compile()
    if ranks.shard_mesh is None:
        # A single process needs no shards; autocast keeps its weights in float32.
        dtype = DTYPES[compute]
        model.autocast_dtype = None if dtype is torch.float32 else dtype
        return
    policy = MixedPrecisionPolicy(param_dtype=DTYPES[compute], reduce_dtype=DTYPES[reduce])
    offload = CPUOffloadPolicy() if config.cpu_offload else OffloadPolicy()
    wrap: Callable[..., Any] = partial(
        fully_shard, mesh=ranks.shard_mesh, mp_policy=policy, offload_policy=offload
    )
    for layer in layers:
        wrap(layer, reshard_after_forward=config.reshard_after_forward)
    # The root holds embedding and head, which a tied model shares and the loss needs at once. Of
    # its inputs only the loss weights are floating point, and these stay as they are: in bfloat16
    # each sample's share of the loss would be off by up to 0.4 %.
    exact = replace(policy, cast_forward_inputs=False)
    wrap(model, reshard_after_forward=False, mp_policy=exact)


def _is_grouped() -> bool:
    return dist.is_available() and dist.is_initialized()


def _join_sequence_group(config: ShardingConfig, world_size: int) -> dist.ProcessGroup | None:
    if config.sequence_parallel == 1:
        return None
    shape = (world_size // config.sequence_parallel, config.sequence_parallel)
    mesh = init_device_mesh(config.device, shape, mesh_dim_names=("data", "sequence"))
    return mesh.get_group("sequence")


def _checkpoint(layer: nn.Module, mode: ActivationCheckpointing, *, adapter_rank: int) -> nn.Module:
    if mode is ActivationCheckpointing.NONE:
        return layer
    if mode is ActivationCheckpointing.FULL:
        return checkpoint_wrapper(layer, preserve_rng_state=False)
    keep = partial(_save_attention_and_half_of_the_products, adapter_rank=adapter_rank)
    return checkpoint_wrapper(layer, preserve_rng_state=False, context_fn=keep)


def _save_attention_and_half_of_the_products(*, adapter_rank: int) -> Any:  # noqa: ANN401 - as torch types it
    """Return the contexts of one layer's selective checkpoint.

    Attention is kept, and every second of the products that widen. A product that narrows is
    either cheap (keys, values) or the layer's last, whose result the backward pass never asks for.
    Those of adapters, one side of which is their rank, are cheap as well.

    Source: the idea of pytorch/torchtitan@b5bcd76 distributed/activation_checkpoint.py.
    """
    num_products = {"forward": 0, "recompute": 0}

    def decide(
        context: Any,  # noqa: ANN401 - as torch types it
        operator: Any,  # noqa: ANN401
        *operands: Tensor,
        **_: object,
    ) -> CheckpointPolicy:
        name = str(operator)
        if "attention" in name or "attn" in name or "all_to_all" in name:
            return CheckpointPolicy.MUST_SAVE
        if operator in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
            inner, outer = operands[-1].shape
            if adapter_rank < inner <= outer:
                phase = "recompute" if context.is_recompute else "forward"
                num_products[phase] += 1
                if num_products[phase] % 2:
                    return CheckpointPolicy.MUST_SAVE
        return CheckpointPolicy.PREFER_RECOMPUTE

    return create_selective_checkpoint_contexts(decide)  # type: ignore[no-untyped-call]
