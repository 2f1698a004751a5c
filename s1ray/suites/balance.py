"""How evenly a step's samples keep 16 GPUs busy: one sample each, against shared rows.

Nothing is run: lengths go through the plan that the training loop itself follows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from s1ray.config.planning import PlanningConfig
from s1ray.config.suites.training import BalanceConfig
from s1ray.planning.model import ModelShape, read_shape
from s1ray.planning.recipe import draw_lengths
from s1ray.suites.suite import Outcome
from s1ray.training.samples.batching import BatchPlan, plan_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Shares of the time in which an average GPU works, over one epoch."""

    tokens: float
    """A token counts as much as any other."""
    compute: float
    """A token counts what the model computes for it, attention included."""


def compare_balance(config: BalanceConfig, planning: PlanningConfig) -> Outcome:
    """Compare one sample a GPU with this house's groups, for every set of lengths.

    Args:
        config: Steps and GPUs.
        planning: Whose lengths, and what a token of which model costs.
    """
    flops = _price_documents(read_shape(planning.report_model))
    results: dict[str, dict[str, float]] = {}
    for name, settings in planning.report_lengths.items():
        lengths = draw_lengths(settings)
        naive = _measure(
            lengths, config, num_groups=config.sharding.num_workers, limit=None, flops=flops
        )
        ours = _measure(
            lengths,
            config,
            num_groups=config.sharding.num_workers // config.sharding.sequence_parallel,
            limit=config.sharding.micro_batch_tokens,
            flops=flops,
        )
        results[name] = {
            "naive_tokens": naive.tokens,
            "naive_compute": naive.compute,
            "ours_tokens": ours.tokens,
            "ours_compute": ours.compute,
            "mean_tokens": sum(lengths) / len(lengths),
            "longest_tokens": max(lengths),
        }
    found = ", ".join(
        f"{name} {numbers['naive_compute']:.3f} to {numbers['ours_compute']:.3f}"
        for name, numbers in results.items()
    )
    return Outcome(
        summary=f"balance of {config.global_batch_size} samples on {config.sharding.num_workers} "
        f"GPUs (arithmetic, nothing run): {found}",
        results=results,
    )


def _measure(
    lengths: Sequence[int],
    config: BalanceConfig,
    *,
    num_groups: int,
    limit: int | None,
    flops: Callable[[Sequence[int]], float],
) -> Balance:
    """Return the balance of an epoch; every pass lasts as long as its busiest group.

    Ranks meet in every layer of every pass, so a pass, not a step, is what must be even.
    """
    plan = BatchPlan(
        seed=config.seed,
        num_epochs=1,
        max_steps=None,
        max_tokens=None,
        global_batch_size=config.global_batch_size,
        micro_batch_tokens=limit,
        num_groups=num_groups,
    )
    rows = [
        [[lengths[index] for index in row] for row in turn]
        for step in plan_steps(lengths, plan=plan, samples_consumed=0)
        for turn in zip(*step.groups, strict=True)
    ]
    return Balance(tokens=_share(rows, sum), compute=_share(rows, flops))


def _share(
    turns: Sequence[Sequence[Sequence[int]]], cost: Callable[[Sequence[int]], float]
) -> float:
    loads = [[cost(row) for row in turn] for turn in turns]
    return sum(map(sum, loads)) / sum(max(turn) * len(turn) for turn in loads)


def _price_documents(shape: ModelShape) -> Callable[[Sequence[int]], float]:
    flops = shape.count_flops(num_adapters=None)
    return lambda lengths: sum(map(flops.of_document, lengths))
