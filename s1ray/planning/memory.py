"""Bytes on one device, part by part, at the three moments of a step that can be the highest.

It does not know time or money. The parts follow FSDP: float32 masters sharded over the ranks,
layers gathered one after the other, embedding and head kept gathered through the pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from s1ray.config.planning import AssumptionsConfig
from s1ray.config.training import ActivationCheckpointing
from s1ray.planning.cluster import Cluster
from s1ray.planning.model import ModelShape
from s1ray.planning.recipe import Passes, Recipe

MASTER_BYTES = 4
GRADIENT_BYTES = 4
RUNTIME = "runtime"
"""The part that CUDA takes beside what torch allocates."""
LAYERS_IN_FLIGHT = 2
"""The layer that computes and the one that is gathered ahead."""


class Moment(StrEnum):
    """When memory can be highest."""

    LOSS = "loss"
    """The forward pass is done: all kept activations are there, and the logits."""
    BACKWARD = "backward"
    """Activations turn into gradients, layer by layer."""
    OPTIMIZER = "optimizer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one purpose takes, in bytes; each moment has its own share of it."""

    name: str
    loss: float
    backward: float
    optimizer: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """One device, the one with the longest row."""

    parts: tuple[Part, ...]
    capacity: float
    """Bytes of the device."""
    host_bytes: float
    """What each node must hold in main memory, where weights and moments are offloaded."""
    host_capacity: float
    row_tokens: int
    """Tokens of the longest row on one rank."""

    @property
    def totals(self) -> dict[Moment, float]:
        """Bytes at each moment."""
        return {
            Moment.LOSS: sum(part.loss for part in self.parts),
            Moment.BACKWARD: sum(part.backward for part in self.parts),
            Moment.OPTIMIZER: sum(part.optimizer for part in self.parts),
        }

    @property
    def moment(self) -> Moment:
        """The highest."""
        return max(self.totals, key=lambda moment: self.totals[moment])

    @property
    def peak(self) -> float:
        """Bytes at the highest moment."""
        return self.totals[self.moment]

    @property
    def fits(self) -> bool:
        """Whether device and host hold it."""
        return self.peak <= self.capacity and self.host_bytes <= self.host_capacity


def estimate_memory(
    model: ModelShape,
    recipe: Recipe,
    *,
    steps: Sequence[Passes],
    cluster: Cluster,
    assumptions: AssumptionsConfig,
) -> Memory:
    """Return what the fullest device holds.

    Args:
        model: Its shape.
        recipe: The fine-tune.
        steps: Its layout.
        cluster: The devices that it holds.
        assumptions: What configurations do not say.
    """
    longest = max(sum(row) for passes in steps for rows in passes for row in rows)
    row_tokens = -(-longest // recipe.sequence_parallel)
    trained = count_trained(model, recipe)
    states = _size_states(model, recipe, trained=trained)
    has_later_pass = max(len(passes) for passes in steps) > 1
    parts: tuple[Part, ...] = (
        *_place_states(states, recipe=recipe, has_later_pass=has_later_pass),
        _size_gathered(model, recipe),
        *_size_activations(model, recipe, row_tokens=row_tokens),
        _size_logits(model, recipe, row_tokens=row_tokens, assumptions=assumptions),
        *_size_temporaries(model, recipe, trained=trained),
        _constant(RUNTIME, 0.0 if cluster.is_cpu else assumptions.runtime_gib * 2**30),
    )
    if not has_later_pass:
        parts = _trade(parts, num_workers=recipe.num_workers)
    return Memory(
        parts=tuple(part for part in parts if part.loss or part.backward or part.optimizer),
        capacity=cluster.memory_bytes,
        host_bytes=sum(states.values()) * cluster.devices_per_node if recipe.is_offloaded else 0.0,
        host_capacity=cluster.host_memory_bytes,
        row_tokens=row_tokens,
    )


def count_trained(model: ModelShape, recipe: Recipe) -> int:
    """Return the parameters that the optimizer steps."""
    if recipe.adapters is None:
        return model.num_parameters
    return model.count_adapters(rank=recipe.adapters.rank, targets=recipe.adapters.targets)


def _size_states(model: ModelShape, recipe: Recipe, *, trained: int) -> dict[str, float]:
    """Return each rank's bytes of what outlives a step."""
    shards = recipe.num_shards
    frozen = 0.0
    if recipe.adapters is not None:
        frozen = model.num_parameters * recipe.adapters.base_bytes / shards
    return {
        "weights": frozen + MASTER_BYTES * trained / shards,
        "moments": 2.0 * recipe.moment_bytes * trained / shards,
        "gradients": GRADIENT_BYTES * trained / shards,
    }


def _place_states(
    states: dict[str, float], *, recipe: Recipe, has_later_pass: bool
) -> tuple[Part, Part, Part]:
    if recipe.is_offloaded:
        states = dict.fromkeys(states, 0.0)
    gradients = states["gradients"]
    return (
        _constant("weights", states["weights"]),
        _constant("moments", states["moments"]),
        Part(
            name="gradients",
            loss=gradients if has_later_pass else 0.0,
            backward=gradients,
            optimizer=gradients,
        ),
    )


def _size_gathered(model: ModelShape, recipe: Recipe) -> Part:
    """Return the weights in compute dtype that a rank holds beside its shard."""
    root = model.num_root_parameters * recipe.compute_bytes
    layer = model.num_layer_parameters * recipe.compute_bytes
    if recipe.num_workers == 1:
        # Without FSDP autocast keeps a cast of every weight until the pass is over.
        is_cast = recipe.compute_bytes < MASTER_BYTES and recipe.adapters is None
        copies = float(root + model.num_layers * layer) if is_cast else 0.0
        return Part(name="gathered weights", loss=copies, backward=copies, optimizer=0.0)
    layers = LAYERS_IN_FLIGHT if recipe.gathers_per_pass > 1 else model.num_layers
    held = float(root + layers * layer)
    return Part(name="gathered weights", loss=held, backward=held, optimizer=0.0)


def _size_activations(model: ModelShape, recipe: Recipe, *, row_tokens: int) -> tuple[Part, Part]:
    compute = recipe.compute_bytes
    layer = model.count_layer_bytes(mode=recipe.checkpointing, compute_bytes=compute)
    if recipe.checkpointing is ActivationCheckpointing.SELECTIVE and recipe.sequence_parallel > 1:
        # Exchanged queries, keys, values and outputs are kept rather than sent again.
        layer += compute * model.count_exchanged(degree=recipe.sequence_parallel)
    ends = (2 * MASTER_BYTES + 2 * compute) * model.hidden_size
    kept = float(row_tokens * (model.num_layers * layer + ends))
    working = float(row_tokens * model.count_working_bytes(compute_bytes=compute))
    if recipe.checkpointing is ActivationCheckpointing.NONE:
        # The layer's own tensors are already among those kept.
        working = float(row_tokens * 3 * compute * model.intermediate_size)
    return (
        Part(name="activations", loss=kept, backward=kept, optimizer=0.0),
        Part(name="one layer at work", loss=0.0, backward=working, optimizer=0.0),
    )


def _size_logits(
    model: ModelShape, recipe: Recipe, *, row_tokens: int, assumptions: AssumptionsConfig
) -> Part:
    """Return the scores in compute dtype and float32, their slope, and the head's gradient."""
    if recipe.loss_chunk_tokens is None:
        copies = MASTER_BYTES * assumptions.whole_logit_copies
        whole = float(row_tokens * model.vocab_size * copies)
        return Part(name="logits", loss=whole, backward=0.0, optimizer=0.0)
    positions = min(row_tokens, recipe.loss_chunk_tokens)
    chunk = positions * model.vocab_size * (MASTER_BYTES + 2 * recipe.compute_bytes)
    head = model.num_head * GRADIENT_BYTES if recipe.adapters is None else 0
    return Part(name="logits", loss=float(chunk + head), backward=float(head), optimizer=0.0)


def _size_temporaries(model: ModelShape, recipe: Recipe, *, trained: int) -> tuple[Part, Part]:
    """Return gradients on their way to the shards, and what an unfused optimizer computes with."""
    unsharded = 0.0
    if recipe.num_workers > 1 and recipe.adapters is None:
        layer = model.num_layer_parameters * (recipe.compute_bytes + recipe.reduce_bytes)
        unsharded = float(model.num_root_parameters * recipe.compute_bytes + layer)
    step = 0.0
    if not (recipe.is_optimizer_fused or recipe.is_offloaded):
        step = MASTER_BYTES * trained / recipe.num_shards
    return (
        Part(name="gradients in transit", loss=0.0, backward=unsharded, optimizer=0.0),
        Part(name="optimizer temporaries", loss=0.0, backward=0.0, optimizer=step),
    )


def _trade(parts: tuple[Part, ...], *, num_workers: int) -> tuple[Part, ...]:
    """Return the parts of a single pass, in which what backward frees and gradients never add up.

    A lone process frees its casts of the weights on the way as well, as it frees activations.
    """
    freed = {"activations", "gathered weights"} if num_workers == 1 else {"activations"}
    named = {part.name: part for part in parts}
    is_more = sum(named[name].backward for name in freed) > named["gradients"].backward
    smaller = {"gradients"} if is_more else freed
    return tuple(replace(part, backward=0.0) if part.name in smaller else part for part in parts)


def _constant(name: str, size: float) -> Part:
    return Part(name=name, loss=size, backward=size, optimizer=size)
