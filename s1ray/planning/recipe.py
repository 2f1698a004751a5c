"""What a fine-tune asks of the hardware: its samples' lengths, its batches, how it is sharded.

It does not know models or hardware. ``lay_out_steps`` says which lengths meet in a forward pass.
"""

import hashlib
import heapq
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from s1ray.config.planning import AssumptionsConfig, LengthsConfig
from s1ray.config.training import (
    ActivationCheckpointing,
    LoraConfig,
    Overflow,
    ShardingConfig,
    TrainingConfig,
)

DTYPE_BYTES = {"float32": 4, "bfloat16": 2}

Passes = tuple[tuple[tuple[int, ...], ...], ...]
"""``passes[pass][group]``: lengths of the documents that a group computes together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """Low-rank adapters beside frozen weights."""

    rank: int
    targets: tuple[str, ...]
    base_bytes: int
    """Of each frozen weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A fine-tune, as far as its cost depends on it."""

    lengths: tuple[int, ...]
    """Tokens of each sample, before the block cuts it."""
    max_seq_len: int
    num_epochs: int
    max_steps: int | None
    """Where the run ends inside its last epoch; None for whole epochs."""
    global_batch_size: int
    seed: int
    num_workers: int
    sequence_parallel: int
    replicas: int
    micro_batch_tokens: int | None
    """Most tokens of a forward pass of a group; None for one sample each."""
    is_balanced: bool
    """Whether samples are dealt to even the groups' tokens, or in the order they come."""
    checkpointing: ActivationCheckpointing
    loss_chunk_tokens: int | None
    """Positions whose logits exist at once; None: all of them, in float32."""
    compute_bytes: int
    reduce_bytes: int
    moment_bytes: int
    adapters: Adapters | None
    gathers_per_pass: int
    """How often a pass gathers the weights: 2 for forward and backward, 1 if they are kept."""
    is_offloaded: bool
    """Whether weights, gradients and moments live in main memory."""
    is_compiled: bool
    is_optimizer_fused: bool
    """Otherwise the step keeps a float32 temporary of every trained parameter."""
    overlap: float
    """Share of the smaller of compute and FSDP communication hidden behind the other."""

    @property
    def num_groups(self) -> int:
        """Groups of ranks that compute different samples."""
        return self.num_workers // self.sequence_parallel

    @property
    def num_shards(self) -> int:
        """Ranks that hold one copy of the weights together."""
        return self.num_workers // self.replicas

    @property
    def cut_lengths(self) -> tuple[int, ...]:
        """Tokens of each sample as it is trained on."""
        return tuple(min(length, self.max_seq_len) for length in self.lengths)


def read_recipe(
    training: TrainingConfig,
    sharding: ShardingConfig,
    *,
    lengths: Sequence[int],
    assumptions: AssumptionsConfig,
) -> Recipe:
    """Return what a configuration of this house asks for.

    Args:
        training: What is computed.
        sharding: On what.
        lengths: Tokens of each sample, uncut.
        assumptions: What the configuration does not say.

    Raises:
        ValueError: No sample is left.
    """
    kept = _keep_lengths(lengths, training=training)
    num_epochs, max_steps = _count_epochs(kept, training=training)
    return Recipe(
        lengths=kept,
        max_seq_len=training.max_seq_len,
        num_epochs=num_epochs,
        max_steps=max_steps,
        global_batch_size=training.global_batch_size,
        seed=training.seed,
        num_workers=sharding.num_workers,
        sequence_parallel=sharding.sequence_parallel,
        replicas=sharding.replicas,
        micro_batch_tokens=sharding.micro_batch_tokens,
        is_balanced=True,
        checkpointing=sharding.activation_checkpointing,
        loss_chunk_tokens=sharding.loss_chunk_tokens,
        compute_bytes=DTYPE_BYTES[training.compute_dtype],
        reduce_bytes=DTYPE_BYTES[training.reduce_dtype],
        moment_bytes=DTYPE_BYTES[training.optimizer.moments_dtype],
        adapters=None if training.lora is None else read_adapters(training.lora),
        gathers_per_pass=2 if sharding.reshard_after_forward else 1,
        # A single process is not sharded, and only sharded weights are offloaded.
        is_offloaded=sharding.cpu_offload and sharding.num_workers > 1,
        is_compiled=sharding.compile,
        is_optimizer_fused=True,
        overlap=assumptions.overlap,
    )


def _keep_lengths(lengths: Sequence[int], *, training: TrainingConfig) -> tuple[int, ...]:
    """Return the lengths of the samples that the block lets through, uncut."""
    is_cut = training.overflow is Overflow.TRUNCATE
    kept = tuple(length for length in lengths if is_cut or length <= training.max_seq_len)
    if not kept:
        raise ValueError(
            f"none of {len(lengths)} samples is left at training.max_seq_len="
            f"{training.max_seq_len} with training.overflow={training.overflow}. Raise the former "
            "or set the latter to truncate."
        )
    return kept


def _count_epochs(lengths: Sequence[int], *, training: TrainingConfig) -> tuple[int, int | None]:
    """Return the epochs that are begun, and the steps where the last of them is not finished."""
    steps_per_epoch = math.ceil(len(lengths) / training.global_batch_size)
    max_steps = training.max_steps
    if training.max_tokens is not None:
        tokens = sum(min(length, training.max_seq_len) for length in lengths)
        max_steps = math.ceil(training.max_tokens / tokens * steps_per_epoch)
    if max_steps is None:
        return training.num_epochs or 0, None
    return math.ceil(max_steps / steps_per_epoch), max_steps


def read_adapters(lora: LoraConfig) -> Adapters:
    """Return the adapters of a configuration."""
    base_bytes = DTYPE_BYTES[lora.base_dtype]
    return Adapters(rank=lora.rank, targets=lora.targets, base_bytes=base_bytes)


def draw_lengths(config: LengthsConfig) -> tuple[int, ...]:
    """Return lengths spread as a lognormal, one at the middle of each quantile, shortest first.

    The same everywhere, and free of sampling noise; the longest is cut where it is known.
    """
    normal = statistics.NormalDist(
        mu=math.log(config.median_tokens), sigma=max(config.sigma, 1e-12)
    )
    quantiles = ((index + 0.5) / config.num_samples for index in range(config.num_samples))
    return tuple(
        min(config.longest_tokens, round(math.exp(normal.inv_cdf(quantile))))
        for quantile in quantiles
    )


def lay_out_steps(recipe: Recipe) -> tuple[Passes, ...]:
    """Return every optimizer step of a run as the lengths that meet in its forward passes.

    Balanced groups take the longest remaining sample into the emptiest row, which comes close to
    what the training loop's own partition does; a plan does not need its last percent.
    """
    lengths = recipe.cut_lengths
    steps = []
    for epoch in range(recipe.num_epochs):
        order = _shuffle(len(lengths), seed=recipe.seed, epoch=epoch)
        for begin in range(0, len(order), recipe.global_batch_size):
            batch = [lengths[i] for i in order[begin : begin + recipe.global_batch_size]]
            rows = _fill_rows(batch, recipe=recipe)
            rows += [()] * (-len(rows) % recipe.num_groups)
            groups = recipe.num_groups
            steps.append(tuple(tuple(rows[i : i + groups]) for i in range(0, len(rows), groups)))
    return tuple(steps[: recipe.max_steps])


def _fill_rows(batch: list[int], *, recipe: Recipe) -> list[tuple[int, ...]]:
    if not recipe.is_balanced:
        return [(length,) for length in batch]
    longest_first = sorted(batch, reverse=True)
    if recipe.micro_batch_tokens is None:
        return [(length,) for length in longest_first]
    limit, groups = recipe.micro_batch_tokens, recipe.num_groups
    for num_passes in range(math.ceil(sum(batch) / (groups * limit)), len(batch)):
        heap: list[tuple[int, int, list[int]]] = [(0, i, []) for i in range(num_passes * groups)]
        for length in longest_first:
            load, index, row = heap[0]
            heapq.heapreplace(heap, (load + length, index, [*row, length]))
        if max(load for load, _, _ in heap) <= limit:
            return [tuple(row) for _, _, row in sorted(heap, reverse=True)]
    return [(length,) for length in longest_first]


@lru_cache(maxsize=64)
def _shuffle(num_samples: int, *, seed: int, epoch: int) -> tuple[int, ...]:
    """Return an order that depends on the arguments alone, on any machine and version."""

    def draw(index: int) -> bytes:
        return hashlib.sha256(f"{seed}/{epoch}/{index}".encode()).digest()

    return tuple(sorted(range(num_samples), key=draw))
