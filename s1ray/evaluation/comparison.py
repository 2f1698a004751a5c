"""Two evaluations side by side: paired differences, and where their samples part.

Runs are compared item by item, since a benchmark's questions differ far more than models do. The
module knows samples; it does not know run directories, nor which runs may be compared (protocol).
"""

import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from s1ray.evaluation.metrics import compute_quantile, group_marks
from s1ray.evaluation.samples import EvaluatedSample
from s1ray.records import Completion


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """How much b is above a, in accuracy (0 to 1)."""

    accuracy_a: float
    accuracy_b: float
    low: float
    """Ends of the bootstrap interval of b minus a."""
    high: float
    num_items: int
    num_better: int
    """Items on which b is above a."""
    num_worse: int

    @property
    def difference(self) -> float:
        """Of b over a."""
        return self.accuracy_b - self.accuracy_a

    @property
    def is_resolved(self) -> bool:
        """Whether the interval leaves out zero and the benchmark has items enough to tell."""
        is_clear = self.low > 0 or self.high < 0
        return is_clear and abs(self.difference) >= resolve_difference(self.num_items)


def resolve_difference(num_items: int) -> float:
    """Return the smallest difference in accuracy that so many items resolve.

    One standard error of an accuracy of one half, its worst case: 9.1 points for 30 items, 2.2 for
    500. A paired interval may be narrower, but below this another draw of questions decides.
    """
    return 0.5 / math.sqrt(num_items)


def bootstrap_difference(
    a: Mapping[str, float],
    b: Mapping[str, float],
    *,
    num_resamples: int,
    confidence: float,
    seed: int,
) -> PairedDifference:
    """Return b minus a with a percentile interval over resampled items.

    Args:
        a: Accuracy of each item, the mean over its samples.
        b: Of the same items.
        num_resamples: Draws of as many items, with replacement.
        confidence: Such as 0.95.
        seed: Of the draws.

    Raises:
        ValueError: The items differ, or there is none.

    Source: arXiv 2501.19393, Table 2: paired bootstrap, 10,000 samples.
    """
    if not a or a.keys() != b.keys():
        raise ValueError(
            f"a paired difference needs the same items twice; a has {len(a)}, b has {len(b)}, "
            f"{len(a.keys() & b.keys())} are in both. Finish both runs, or compare what is common."
        )
    items = sorted(a)
    differences = [b[item] - a[item] for item in items]
    generator = random.Random(seed)
    means = [
        math.fsum(generator.choices(differences, k=len(items))) / len(items)
        for _ in range(num_resamples)
    ]
    return PairedDifference(
        accuracy_a=math.fsum(a.values()) / len(items),
        accuracy_b=math.fsum(b.values()) / len(items),
        low=compute_quantile(means, share=(1 - confidence) / 2),
        high=compute_quantile(means, share=(1 + confidence) / 2),
        num_items=len(items),
        num_better=sum(difference > 0 for difference in differences),
        num_worse=sum(difference < 0 for difference in differences),
    )


def describe_resolution(difference: PairedDifference) -> str | None:
    """Return a warning where the difference is not resolved, None where it is."""
    if difference.is_resolved:
        return None
    return (
        f"not resolved: {100 * difference.difference:+.1f} points "
        f"[{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]; {difference.num_items} "
        f"questions resolve about {100 * resolve_difference(difference.num_items):.0f} points. "
        "Use more questions or more samples of each."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """The first token in which two completions of one sample differ."""

    item: str
    sample: int
    part: Literal["thinking", "answer"]
    position: int
    """Index into the part's token ids."""
    token_a: int | None
    """None where a had ended."""
    token_b: int | None


def find_divergence(a: Completion, b: Completion, *, item: str, sample: int) -> Divergence | None:
    """Return where two completions part; None where they are equal token by token.

    Args:
        a: Of one run.
        b: Of another.
        item: The question of both.
        sample: Its number among the samples of the question.
    """
    parts: tuple[tuple[Literal["thinking", "answer"], tuple[int, ...], tuple[int, ...]], ...] = (
        ("thinking", a.thinking_ids, b.thinking_ids),
        ("answer", a.answer_ids, b.answer_ids),
    )
    for part, ids_a, ids_b in parts:
        for position, (token_a, token_b) in enumerate(zip_longest(ids_a, ids_b)):
            if token_a != token_b:
                return Divergence(
                    item=item,
                    sample=sample,
                    part=part,
                    position=position,
                    token_a=token_a,
                    token_b=token_b,
                )
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs on one benchmark under one policy."""

    benchmark: str
    policy: str
    difference: PairedDifference
    num_items_left_out: int
    """Items scored in one run only."""
    num_identical: int
    """Samples in both runs that are equal token by token."""
    divergences: tuple[Divergence, ...]
    """Of the samples in both runs that are not."""


def compare_samples(
    a: Iterable[EvaluatedSample],
    b: Iterable[EvaluatedSample],
    *,
    is_common_enough: bool,
    num_resamples: int,
    confidence: float,
    seed: int,
) -> tuple[Comparison, ...]:
    """Compare two runs on every benchmark and policy that both have.

    Args:
        a: Samples of one run, of one model.
        b: Of another.
        is_common_enough: Whether items scored in one run only are left out rather than refused.
        num_resamples: Of the bootstrap.
        confidence: Of its interval.
        seed: Of its draws.

    Raises:
        ValueError: A run holds several models, nothing is common, or the items differ.
    """
    cells_a, cells_b = _split_cells(a, name="a"), _split_cells(b, name="b")
    common = sorted(cells_a.keys() & cells_b.keys())
    if not common:
        raise ValueError(
            f"the runs have no benchmark and policy in common: a has {sorted(cells_a)}, b has "
            f"{sorted(cells_b)}. Evaluate both with the same benchmark and budget."
        )
    return tuple(
        _compare_cells(
            cells_a[benchmark, policy],
            cells_b[benchmark, policy],
            is_common_enough=is_common_enough,
            num_resamples=num_resamples,
            confidence=confidence,
            seed=seed,
        )
        for benchmark, policy in common
    )


Cell = list[EvaluatedSample]


def _compare_cells(
    a: Cell,
    b: Cell,
    *,
    is_common_enough: bool,
    num_resamples: int,
    confidence: float,
    seed: int,
) -> Comparison:
    benchmark, policy = a[0].task.benchmark, a[0].task.policy
    means_a, means_b = _average_items(a), _average_items(b)
    both = means_a.keys() & means_b.keys()
    num_left_out = len(means_a.keys() ^ means_b.keys())
    if num_left_out and not is_common_enough:
        raise ValueError(
            f"{benchmark} under {policy}: {num_left_out} items are scored in one run only, "
            f"{len(both)} in both. Finish both runs, or name it: allow=[items]."
        )
    divergences, num_identical = _find_divergences(a, b)
    return Comparison(
        benchmark=benchmark,
        policy=policy,
        difference=bootstrap_difference(
            {item: means_a[item] for item in both},
            {item: means_b[item] for item in both},
            num_resamples=num_resamples,
            confidence=confidence,
            seed=seed,
        ),
        num_items_left_out=num_left_out,
        num_identical=num_identical,
        divergences=divergences,
    )


def _split_cells(samples: Iterable[EvaluatedSample], *, name: str) -> dict[tuple[str, str], Cell]:
    cells: dict[tuple[str, str], Cell] = {}
    models = set()
    for sample in samples:
        cells.setdefault((sample.task.benchmark, sample.task.policy), []).append(sample)
        models.add(sample.task.model)
    if len(models) > 1:
        raise ValueError(
            f"run {name} holds samples of {len(models)} models: {sorted(models)}. Compare runs of "
            "one model each, such as the evaluate steps of a reproduction."
        )
    return cells


def _average_items(cell: Cell) -> dict[str, float]:
    marks = group_marks(sample.score for sample in cell)
    return {item: sum(of_item) / len(of_item) for item, of_item in marks.items()}


def _find_divergences(cell_a: Cell, cell_b: Cell) -> tuple[tuple[Divergence, ...], int]:
    of_b = {(sample.task.item, sample.task.sample): sample for sample in cell_b}
    found = [
        find_divergence(sample.completion, of_b[key].completion, item=key[0], sample=key[1])
        for sample in sorted(cell_a, key=lambda sample: (sample.task.item, sample.task.sample))
        if (key := (sample.task.item, sample.task.sample)) in of_b
    ]
    divergences = tuple(divergence for divergence in found if divergence is not None)
    return divergences, len(found) - len(divergences)
