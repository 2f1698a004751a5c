"""Which samples make a step, on which rank and in which forward pass they are computed.

Everything is a pure function of lengths and of how many samples the run has consumed; neither
tokens nor tensors are known here. Every rank computes the same plan.
"""

import functools
import hashlib
import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """How the samples of a run are cut into steps and forward passes."""

    seed: int
    num_epochs: int | None
    """The run's length; where it is None, one of the next two is."""
    max_steps: int | None
    max_tokens: int | None
    """The run ends with the step that reaches so many."""
    global_batch_size: int
    micro_batch_tokens: int | None
    """Most tokens in one forward pass of a group; None for one sample each."""
    num_groups: int
    """Groups of ranks that compute different samples; the ranks of a group share each sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """One optimizer step."""

    step: int
    """1 for the first step of the run."""
    epoch: float
    """Epochs done after this step."""
    samples_consumed: int
    """After this step."""
    samples: tuple[int, ...]
    """Indices of the step's examples, in the order of the epoch."""
    groups: tuple[tuple[tuple[int, ...], ...], ...]
    """``groups[group][pass]``: indices that share a forward pass. Every group has as many passes;
    a pass may be empty."""
    balance_efficiency: float
    """Mean over maximum of the groups' token counts."""


@functools.lru_cache(maxsize=2)  # every step of an epoch asks for the same
def order_epoch(num_samples: int, *, seed: int, epoch: int) -> tuple[int, ...]:
    """Return a permutation that depends on its arguments alone, on any machine and version."""

    def draw(index: int) -> bytes:
        return hashlib.sha256(f"{seed}/{epoch}/{index}".encode()).digest()

    return tuple(sorted(range(num_samples), key=draw))


def count_steps(num_samples: int, *, global_batch_size: int, num_epochs: int) -> int:
    """Return the optimizer steps of a run; the last of each epoch may be partial.

    s1's 1,000 samples at 16 a step make 63 steps an epoch, 315 in all. (There the samplers of
    accelerate fill the 63rd batch with samples seen before; here it has 8 samples.)
    """
    return num_epochs * math.ceil(num_samples / global_batch_size)


def count_run_steps(lengths: Sequence[int], *, plan: BatchPlan) -> int:
    """Return the optimizer steps of a whole run, however its length is given."""
    if plan.max_steps is not None:
        return plan.max_steps
    if plan.num_epochs is not None:
        return count_steps(
            len(lengths), global_batch_size=plan.global_batch_size, num_epochs=plan.num_epochs
        )
    assert plan.max_tokens is not None  # the configuration's own check
    seen = num_steps = 0
    for epoch in itertools.count():
        order = order_epoch(len(lengths), seed=plan.seed, epoch=epoch)
        for begin in range(0, len(order), plan.global_batch_size):
            seen += sum(lengths[i] for i in order[begin : begin + plan.global_batch_size])
            num_steps += 1
            if seen >= plan.max_tokens:
                return num_steps
    raise AssertionError


def plan_steps(
    lengths: Sequence[int], *, plan: BatchPlan, samples_consumed: int
) -> Iterator[StepPlan]:
    """Yield the steps that remain after ``samples_consumed``.

    Args:
        lengths: Tokens of each example of the run.
        plan: How they are cut.
        samples_consumed: The run's position; a value that ``StepPlan`` reports.

    Raises:
        ValueError: The position is not a step's boundary, or a sample exceeds
            ``micro_batch_tokens``.
    """
    num_samples = len(lengths)
    steps_per_epoch = count_steps(
        num_samples, global_batch_size=plan.global_batch_size, num_epochs=1
    )
    _check_plan(lengths, plan=plan, samples_consumed=samples_consumed)
    num_steps = count_run_steps(lengths, plan=plan)
    while True:
        epoch, begin = divmod(samples_consumed, num_samples)
        step = epoch * steps_per_epoch + begin // plan.global_batch_size + 1
        if step > num_steps:
            return
        order = order_epoch(num_samples, seed=plan.seed, epoch=epoch)
        samples = order[begin : begin + plan.global_batch_size]
        samples_consumed += len(samples)
        groups = _assign(samples, lengths, plan=plan)
        yield StepPlan(
            step=step,
            epoch=samples_consumed / num_samples,
            samples_consumed=samples_consumed,
            samples=samples,
            groups=groups,
            balance_efficiency=measure_balance(
                [sum(lengths[i] for passed in group for i in passed) for group in groups]
            ),
        )


def measure_balance(loads: Sequence[int]) -> float:
    """Return mean over maximum of loads: the share of time in which an average rank works."""
    return float(Fraction(sum(loads), len(loads) * max(loads)))


def partition(lengths: Sequence[int], *, num_bins: int) -> list[list[int]]:
    """Return positions of ``lengths`` in bins of nearly equal sums (largest differencing method).

    The two partial partitions with the largest spread are merged, largest bin onto smallest,
    until one is left.

    Source: Karmarkar and Karp 1982; Michiels et al. 2003 for more than two bins.
    """
    heap: list[tuple[int, int, list[tuple[int, list[int]]]]] = []
    for position, length in enumerate(lengths):
        bins: list[tuple[int, list[int]]] = [(length, [position])]
        bins += [(0, []) for _ in range(num_bins - 1)]
        heapq.heappush(heap, (-length, position, bins))
    while len(heap) > 1:
        _, tie, first = heapq.heappop(heap)
        _, _, second = heapq.heappop(heap)
        merged = sorted(
            (
                (load + other_load, sorted(members + others))
                for (load, members), (other_load, others) in zip(
                    first, reversed(second), strict=True
                )
            ),
            key=lambda item: (-item[0], item[1]),
        )
        heapq.heappush(heap, (merged[-1][0] - merged[0][0], tie, merged))
    return [members for _, members in heap[0][2]]


def _assign(
    samples: Sequence[int], lengths: Sequence[int], *, plan: BatchPlan
) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """Deal balanced bins to the groups so that the passes of a turn are alike as well."""
    sizes = [lengths[i] for i in samples]
    bins = _fill_bins(sizes, plan=plan)
    groups: list[list[tuple[int, ...]]] = [[] for _ in range(plan.num_groups)]
    loads = [0] * plan.num_groups
    for turn in range(0, len(bins), plan.num_groups):
        hungry_first = sorted(range(plan.num_groups), key=lambda g: (loads[g], g))
        for group, members in zip(hungry_first, bins[turn : turn + plan.num_groups], strict=True):
            groups[group].append(tuple(samples[position] for position in members))
            loads[group] += sum(sizes[position] for position in members)
    return tuple(tuple(group) for group in groups)


def _fill_bins(sizes: Sequence[int], *, plan: BatchPlan) -> list[list[int]]:
    """Return bins within the limit, fullest first, a whole number of turns over the groups."""
    num_turns = math.ceil(len(sizes) / plan.num_groups)
    if plan.micro_batch_tokens is None:
        singles: list[list[int]] = sorted(
            ([position] for position in range(len(sizes))), key=lambda bin_: -sizes[bin_[0]]
        )
        return singles + [[] for _ in range(num_turns * plan.num_groups - len(sizes))]
    least = math.ceil(sum(sizes) / (plan.num_groups * plan.micro_batch_tokens))
    for turns in range(least, num_turns):
        bins = partition(sizes, num_bins=turns * plan.num_groups)
        if max(sum(sizes[p] for p in members) for members in bins) <= plan.micro_batch_tokens:
            return bins
    return partition(sizes, num_bins=num_turns * plan.num_groups)


def _check_plan(lengths: Sequence[int], *, plan: BatchPlan, samples_consumed: int) -> None:
    begin = samples_consumed % len(lengths)
    if begin % plan.global_batch_size:
        raise ValueError(
            f"samples_consumed={samples_consumed} is not the end of a step of "
            f"{plan.global_batch_size} out of {len(lengths)} samples. Resume with the data and "
            "the training.global_batch_size that the run began with."
        )
    longest = max(lengths)
    if plan.micro_batch_tokens is not None and longest > plan.micro_batch_tokens:
        raise ValueError(
            f"a sample has {longest} tokens and does not fit sharding.micro_batch_tokens="
            f"{plan.micro_batch_tokens}. Raise it, or lower training.max_seq_len."
        )
