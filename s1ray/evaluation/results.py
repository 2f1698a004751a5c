"""From graded samples to ``results.json``: one point per benchmark, model and policy.

It knows what a point holds and how points become the document; it does not know where samples come
from nor where the document goes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Protocol

from s1ray.evaluation.metrics import (
    compute_quantile,
    count_flips,
    count_verdicts,
    estimate_accuracy,
    estimate_pass_at_k,
    group_scores,
    is_correct,
)
from s1ray.evaluation.samples import EvaluatedSample
from s1ray.evaluation.scaling import control, control_of_samples, performance, scaling
from s1ray.records import Verdict

Samples = Sequence[EvaluatedSample]


class Policy(Protocol):
    """The part of a budget policy that results speak of."""

    @property
    def name(self) -> str:
        """As in the samples."""
        ...

    @property
    def max_thinking_tokens(self) -> int | None:
        """None: the model's own end."""
        ...

    @property
    def min_thinking_tokens(self) -> int:
        """0: none."""
        ...

    @property
    def num_waits(self) -> int:
        """Ends of thinking that are replaced."""
        ...

    @property
    def wait_strings(self) -> tuple[str, ...]:
        """By what."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One model on one benchmark under one policy. Shares are 0 to 1."""

    benchmark: str
    model: str
    """A label such as "base" or "trained"."""
    policy: str
    max_thinking_tokens: int | None
    min_thinking_tokens: int | None
    num_waits: int
    num_samples: int
    """Samples received, over all items."""
    num_items: int
    accuracy: float | None
    """None where nothing is scored."""
    stderr: float | None
    """Clustered by item, ddof 1; None for fewer than two items."""
    thinking_tokens: float
    """Mean over samples."""
    thinking_tokens_quantiles: Mapping[str, float]
    """By share, such as "0.5"."""
    answered: float | None
    """Share of graded samples in which an answer was found."""
    forced: float
    """Share of samples whose answer was forced by a limit."""
    control: float | None
    """Share of samples within the cap; None where there is none."""
    tokens_per_correct: float | None
    """Generated tokens per correct answer, each sample's whole chain counted as its own."""
    pass_at: Mapping[str, float | None]
    """pass@k by k; None where an item has fewer than k scored samples."""
    verdicts: Mapping[str, int]


def summarise(
    samples: Iterable[EvaluatedSample],
    *,
    policies: Sequence[Policy],
    models: Mapping[str, str],
    quantiles: Sequence[float],
    pass_at: Sequence[int],
) -> list[Point]:
    """Return the points of an evaluation: benchmarks and models in order, policies as given.

    Args:
        samples: Of any number of benchmarks and models.
        policies: All that occur.
        models: Labels by digest, in the order the points are to have.
        quantiles: Shares at which thinking tokens are reported.
        pass_at: The k of pass@k.

    Raises:
        ValueError: A sample has an unknown policy or model.
    """
    by_point: dict[tuple[str, str, str], list[EvaluatedSample]] = {}
    for sample in samples:
        task = sample.task
        by_point.setdefault((task.benchmark, task.model, task.policy), []).append(sample)
    names = [policy.name for policy in policies]
    for benchmark, digest, name in by_point:
        if name not in names or digest not in models:
            raise ValueError(
                f"samples of {benchmark} belong to policy {name!r} and model {digest!r}; known are "
                f"the policies {names} and the models {list(models)}. Summarise with the "
                "configuration that the samples were made with."
            )
    return [
        _summarise_point(
            by_point[benchmark, digest, policy.name],
            policy=policy,
            model=label,
            quantiles=quantiles,
            pass_at=pass_at,
        )
        for benchmark in sorted({benchmark for benchmark, _, _ in by_point})
        for digest, label in models.items()
        for policy in policies
        if (benchmark, digest, policy.name) in by_point
    ]


def _summarise_point(
    samples: Samples,
    *,
    policy: Policy,
    model: str,
    quantiles: Sequence[float],
    pass_at: Sequence[int],
) -> Point:
    accuracy = estimate_accuracy(samples)
    thinking = [sample.completion.num_thinking_tokens for sample in samples]
    graded = [sample for sample in samples if sample.graded.verdict is not Verdict.UNSCORED]
    num_correct = sum(is_correct(sample) for sample in samples)
    num_generated = sum(sample.completion.num_generated_tokens for sample in samples)
    return Point(
        benchmark=samples[0].task.benchmark,
        model=model,
        policy=policy.name,
        max_thinking_tokens=policy.max_thinking_tokens,
        min_thinking_tokens=policy.min_thinking_tokens or None,
        num_waits=policy.num_waits,
        num_samples=len(samples),
        num_items=len({sample.task.item for sample in samples}),
        accuracy=accuracy.value if accuracy else None,
        stderr=accuracy.stderr if accuracy else None,
        thinking_tokens=_mean(thinking),
        thinking_tokens_quantiles={
            str(share): compute_quantile(thinking, share=share) for share in quantiles
        },
        answered=_share(sample.graded.extracted is not None for sample in graded),
        forced=_mean([sample.completion.is_answer_forced for sample in samples]),
        control=control_of_samples(thinking, max_thinking_tokens=policy.max_thinking_tokens),
        tokens_per_correct=num_generated / num_correct if num_correct else None,
        pass_at={str(k): _pass_at(samples, k=k) for k in pass_at},
        verdicts=count_verdicts(samples),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _share(hits: Iterable[bool]) -> float | None:
    values = list(hits)
    return sum(values) / len(values) if values else None


def _pass_at(samples: Samples, *, k: int) -> float | None:
    if any(len(scores) < k for scores in group_scores(samples).values()):
        return None
    estimate = estimate_pass_at_k(samples, k=k)
    return estimate.value if estimate else None


def describe_scaling(points: Sequence[Point]) -> dict[str, dict[str, Any]]:
    """Return s1's three metrics by "<benchmark>/<model>", over all policies of each.

    ``control`` is the share of capped runs within their cap by their mean, ``control_samples`` the
    mean share of samples within it; ``scaling`` is in percentage points per doubling of thinking
    tokens; ``performance`` is 0 to 1.
    """
    described = {}
    for name in dict.fromkeys(f"{point.benchmark}/{point.model}" for point in points):
        family = [point for point in points if f"{point.benchmark}/{point.model}" == name]
        scored = [
            _Scored(thinking_tokens=point.thinking_tokens, accuracy=point.accuracy)
            for point in family
            if point.accuracy is not None
        ]
        slope = scaling(scored)
        kept = [point.control for point in family if point.control is not None]
        described[name] = {
            "control": control(family),
            "control_samples": _mean(kept) if kept else None,
            "scaling": slope.points_per_doubling,
            "scaling_pairs": slope.num_pairs,
            "scaling_skipped_pairs": slope.num_skipped_pairs,
            "performance": performance(scored),
        }
    return described


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    thinking_tokens: float
    accuracy: float


def describe_flips(
    samples: Iterable[EvaluatedSample], *, policies: Sequence[Policy], models: Mapping[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """Return what each further wait changed, by "<benchmark>/<model>".

    Policies that differ in nothing but their number of waits form a ladder; each rung is held
    against the one below it.

    Args:
        samples: Of any number of benchmarks and models.
        policies: All that occur.
        models: Labels by digest.
    """
    by_family: dict[tuple[str, str], list[EvaluatedSample]] = {}
    for sample in samples:
        by_family.setdefault((sample.task.benchmark, sample.task.model), []).append(sample)
    rungs = _find_rungs(policies)
    described = {
        f"{benchmark}/{models[digest]}": [
            asdict(count_flips(of_family, before=before, after=after)) for before, after in rungs
        ]
        for (benchmark, digest), of_family in sorted(by_family.items())
    }
    return described if rungs else {}


def _find_rungs(policies: Sequence[Policy]) -> list[tuple[str, str]]:
    ladders: dict[tuple[object, ...], list[Policy]] = {}
    for policy in policies:
        key = (policy.max_thinking_tokens, policy.min_thinking_tokens, policy.wait_strings)
        ladders.setdefault(key, []).append(policy)
    return [
        (below.name, above.name)
        for ladder in ladders.values()
        for below, above in pairwise(sorted(ladder, key=lambda policy: policy.num_waits))
    ]


def build_results(
    points: Sequence[Point],
    *,
    flips: Mapping[str, Any],
    cost: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of ``results.json``.

    Args:
        points: As ``summarise`` returns them.
        flips: As ``describe_flips`` returns them.
        cost: As ``metrics.measure_cost`` returns it, or that of several evaluations.
    """
    return {
        "points": [asdict(point) for point in points],
        "scaling": describe_scaling(points),
        "flips": dict(flips),
        "cost": dict(cost),
    }
