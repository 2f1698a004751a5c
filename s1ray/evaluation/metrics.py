"""Numbers from graded samples, each with its error and with what it was counted over.

An item's accuracy is the mean over its scored samples, a benchmark's the mean over its items, and
the standard error is that of a mean over items: sample standard deviation (ddof 1) of the items'
accuracies over the root of their number. With several samples per item this is the error
clustered by item; with one it is sqrt(p (1 - p) / (n - 1)).

Scored are correct, incorrect, no_answer and timeout: the last two count as not correct. Samples
that are unscored, or whose gold answer is at fault, count nowhere but in the count of verdicts.
The module knows no files and no policies.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from s1ray.evaluation.samples import SampleTask, Score
from s1ray.records import Verdict

SCORED = frozenset({Verdict.CORRECT, Verdict.INCORRECT, Verdict.NO_ANSWER, Verdict.TIMEOUT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over items."""

    value: float
    stderr: float | None
    """None for a single item, whose error nobody knows."""
    num_items: int
    num_samples: int


def standard_error(values: Sequence[float], *, ddof: int) -> float | None:
    """Return the standard error of a mean; None for too few values.

    Args:
        values: One per independent unit: an item, or a repeated run.
        ddof: 1 where the values stand for more of their kind, as items do; 0 for the plain spread
            that the evaluation cards of mlfoundations report over repeated runs.
    """
    if len(values) <= ddof:
        return None
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return math.sqrt(squares / (len(values) - ddof) / len(values))


def estimate_mean(values_of_items: Iterable[Sequence[float]]) -> Estimate | None:
    """Return the mean over items of each item's mean; None where no item has a value."""
    items = [values for values in values_of_items if values]
    if not items:
        return None
    means = [math.fsum(values) / len(values) for values in items]
    return Estimate(
        value=math.fsum(means) / len(means),
        stderr=standard_error(means, ddof=1),
        num_items=len(means),
        num_samples=sum(len(values) for values in items),
    )


def is_scored(sample: Score) -> bool:
    """Whether the sample counts in an accuracy."""
    return sample.graded.verdict in SCORED


def is_correct(sample: Score) -> bool:
    """Whether the answer is right."""
    return sample.graded.verdict is Verdict.CORRECT


def group_marks(samples: Iterable[Score]) -> dict[str, list[float]]:
    """Return 1 or 0 for every scored sample, by item; items without one are absent."""
    marks: dict[str, list[float]] = {}
    for sample in samples:
        if is_scored(sample):
            marks.setdefault(sample.task.item, []).append(float(is_correct(sample)))
    return marks


def estimate_accuracy(samples: Iterable[Score]) -> Estimate | None:
    """Return the accuracy of samples of one benchmark, model and policy; None where unscored."""
    return estimate_mean(group_marks(samples).values())


def compute_pass_at_k(*, num_samples: int, num_correct: int, k: int) -> float:
    """Return the chance that k samples, drawn from those received, hold a correct one.

    Args:
        num_samples: Received and scored, never the number asked for.
        num_correct: Of them.
        k: Size of the draw.

    Raises:
        ValueError: k is less than 1 or more than the samples received.

    Source: Chen et al. 2021 (arXiv 2107.03374), equation 1: 1 - C(n - c, k) / C(n, k).
    """
    if not 1 <= k <= num_samples:
        raise ValueError(
            f"pass@{k} needs 1 <= k <= samples, and {num_samples} samples were received. Lower "
            "evaluation.pass_at, or raise evaluation.num_samples and run again."
        )
    return 1.0 - math.comb(num_samples - num_correct, k) / math.comb(num_samples, k)


def estimate_pass_at_k(samples: Iterable[Score], *, k: int) -> Estimate | None:
    """Return pass@k averaged over items; None where nothing is scored.

    Raises:
        ValueError: An item has fewer scored samples than k.
    """
    return estimate_mean(
        [compute_pass_at_k(num_samples=len(marks), num_correct=round(sum(marks)), k=k)]
        for marks in group_marks(samples).values()
    )


def compute_quantile(values: Sequence[float], *, share: float) -> float:
    """Return the value below which a share of the values lies, interpolated linearly.

    Raises:
        ValueError: There is no value, or the share is outside 0 to 1.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError(
            f"a quantile needs a value and a share in 0..1; got {len(values)} values and {share}. "
            "Set evaluation.quantiles to shares such as 0.5."
        )
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """What became of the same samples from one policy to another, such as wait k - 1 to wait k."""

    before: str
    after: str
    num_pairs: int
    right_to_wrong: int
    wrong_to_right: int


def count_flips(samples: Iterable[Score], *, before: str, after: str) -> Flips:
    """Count changed verdicts of samples scored under both policies.

    Args:
        samples: Of one benchmark and one model.
        before: Name of a policy.
        after: Name of another; its samples are paired by item and sample number.
    """
    verdicts: dict[str, dict[tuple[str, int], bool]] = {before: {}, after: {}}
    for sample in samples:
        if sample.task.policy in verdicts and is_scored(sample):
            key = (sample.task.item, sample.task.sample)
            verdicts[sample.task.policy][key] = is_correct(sample)
    pairs = [
        (right, verdicts[after][key])
        for key, right in verdicts[before].items()
        if key in verdicts[after]
    ]
    return Flips(
        before=before,
        after=after,
        num_pairs=len(pairs),
        right_to_wrong=pairs.count((True, False)),
        wrong_to_right=pairs.count((False, True)),
    )


@dataclass(slots=True)
class RunningAccuracy:
    """The accuracy so far of one benchmark, model and policy; taking in a sample is cheap."""

    num_samples: int = 0
    _counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Scored and correct samples by item."""
    _sum: float = 0.0
    _sum_of_squares: float = 0.0

    def add(self, task: SampleTask, verdict: Verdict) -> None:
        """Take in one sample; unscored ones change nothing."""
        if verdict not in SCORED:
            return
        scored, correct = self._counts.get(task.item, (0, 0))
        if scored:
            self._sum -= correct / scored
            self._sum_of_squares -= (correct / scored) ** 2
        scored, correct = scored + 1, correct + (verdict is Verdict.CORRECT)
        self._counts[task.item] = (scored, correct)
        self._sum += correct / scored
        self._sum_of_squares += (correct / scored) ** 2
        self.num_samples += 1

    def estimate(self) -> Estimate | None:
        """Return what ``estimate_accuracy`` returns of the samples so far."""
        num_items = len(self._counts)
        if num_items == 0:
            return None
        mean = self._sum / num_items
        # Rounding may leave a hair below zero where all items agree.
        squares = max(0.0, self._sum_of_squares - num_items * mean**2)
        stderr = math.sqrt(squares / (num_items - 1) / num_items) if num_items > 1 else None
        return Estimate(
            value=mean, stderr=stderr, num_items=num_items, num_samples=self.num_samples
        )


def count_verdicts(samples: Iterable[Score]) -> Mapping[str, int]:
    """Return how often each verdict was given, zeros included."""
    counts = dict.fromkeys((verdict.value for verdict in Verdict), 0)
    for sample in samples:
        counts[sample.graded.verdict.value] += 1
    return counts


def count_layers(samples: Iterable[Score]) -> Mapping[str, int]:
    """Return how many samples each layer decided, by name; "none" for those that none did."""
    counts = Counter(sample.graded.layer or "none" for sample in samples)
    return dict(sorted(counts.items()))


def measure_cost(
    samples: Iterable[Score], *, seconds: float, dollars: float | None
) -> dict[str, float | None]:
    """Return what the samples cost, in total and per correct answer.

    Args:
        samples: All of the evaluation.
        seconds: Wall clock, resumed parts included.
        dollars: None where the hardware has no price.
    """
    num_correct = num_generated = num_thinking = 0
    for sample in samples:
        num_correct += is_correct(sample)
        num_generated += sample.num_generated_tokens
        num_thinking += sample.num_thinking_tokens
    return {
        "seconds": seconds,
        "dollars": dollars,
        "generated_tokens": num_generated,
        "thinking_tokens": num_thinking,
        "correct": num_correct,
        "tokens_per_correct": num_generated / num_correct if num_correct else None,
        "dollars_per_correct": dollars / num_correct
        if num_correct and dollars is not None
        else None,
    }
