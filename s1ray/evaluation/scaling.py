"""What a budget buys: s1's Control, Scaling and Performance, and each item's smallest budget.

The three metrics are computed as s1's Table 3 computes them, which is not as its equation 2 reads:
the slope is taken over the binary logarithm of thinking tokens and in percentage points. They know
runs as points only; where those came from is not their concern.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

from s1ray.evaluation.metrics import group_marks
from s1ray.evaluation.samples import Score


class ScalingPoint(Protocol):
    """One evaluation run: a model on a benchmark under one policy."""

    @property
    def thinking_tokens(self) -> float:
        """Mean over the run's samples."""
        ...

    @property
    def accuracy(self) -> float:
        """0 to 1."""
        ...


class BoundedPoint(Protocol):
    """A run that was to keep within bounds."""

    @property
    def thinking_tokens(self) -> float:
        """Mean over the run's samples."""
        ...

    @property
    def max_thinking_tokens(self) -> float | None:
        """None where there is no upper bound."""
        ...

    @property
    def min_thinking_tokens(self) -> float | None:
        """None where there is no lower bound."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """How accuracy grows with thinking."""

    points_per_doubling: float | None
    """Percentage points for twice the thinking tokens; None where no pair of runs has a slope."""
    num_pairs: int
    num_skipped_pairs: int
    """Pairs of runs with equal mean tokens, or without any: equation 2 is undefined for them."""


def control(points: Iterable[BoundedPoint]) -> float | None:
    """Return the share of runs whose mean thinking tokens keep within their bounds.

    Bounds are inclusive. Runs without any bound are left out; None where no run has one.

    Source: arXiv 2501.19393, equation 1, over run means as in its Tables 11 to 13.
    """
    kept = [
        (point.min_thinking_tokens is None or point.thinking_tokens >= point.min_thinking_tokens)
        and (
            point.max_thinking_tokens is None or point.thinking_tokens <= point.max_thinking_tokens
        )
        for point in points
        if point.min_thinking_tokens is not None or point.max_thinking_tokens is not None
    ]
    return sum(kept) / len(kept) if kept else None


def control_of_samples(
    thinking_tokens: Iterable[int], *, max_thinking_tokens: int | None
) -> float | None:
    """Return the share of one run's samples within its cap; None without a cap or a sample."""
    if max_thinking_tokens is None:
        return None
    kept = [tokens <= max_thinking_tokens for tokens in thinking_tokens]
    return sum(kept) / len(kept) if kept else None


def scaling(points: Sequence[ScalingPoint]) -> Slope:
    """Return the mean slope over all pairs of runs.

    Source: arXiv 2501.19393, equation 2, with the binary logarithm of thinking tokens, without
    which its Table 3 does not come out.
    """
    slopes: list[float] = []
    num_skipped = 0
    for one, other in combinations(points, 2):
        if min(one.thinking_tokens, other.thinking_tokens) <= 0:
            num_skipped += 1
            continue
        doublings = math.log2(other.thinking_tokens) - math.log2(one.thinking_tokens)
        if doublings == 0:
            num_skipped += 1
            continue
        slopes.append(100 * (other.accuracy - one.accuracy) / doublings)
    return Slope(
        points_per_doubling=math.fsum(slopes) / len(slopes) if slopes else None,
        num_pairs=len(slopes),
        num_skipped_pairs=num_skipped,
    )


def performance(points: Iterable[ScalingPoint]) -> float | None:
    """Return the best accuracy of any run, 0 to 1; None where there is no run.

    Source: arXiv 2501.19393, equation 3.
    """
    return max((point.accuracy for point in points), default=None)


def find_solving_budgets(
    samples: Iterable[Score],
    *,
    budgets: Mapping[str, int],
    solved_share: float,
) -> dict[str, int | None]:
    """Return each item's smallest solving budget, None where no budget solves it; sorted by item.

    Args:
        samples: Of one benchmark and one model; other policies than those of ``budgets`` and
            unscored samples are passed over.
        budgets: Thinking tokens by policy name.
        solved_share: Share of an item's samples that must be correct.
    """
    by_policy: dict[str, list[Score]] = {name: [] for name in budgets}
    for sample in samples:
        if sample.task.policy in by_policy:
            by_policy[sample.task.policy].append(sample)
    solved: dict[str, list[tuple[int, bool]]] = {}
    for name, budget in budgets.items():
        for item, marks in group_marks(by_policy[name]).items():
            is_solved = sum(marks) / len(marks) >= solved_share
            solved.setdefault(item, []).append((budget, is_solved))
    return {
        item: min((budget for budget, is_solved in tried if is_solved), default=None)
        for item, tried in sorted(solved.items())
    }
