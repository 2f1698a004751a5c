"""One model on one benchmark under one policy, in numbers: a point of every figure and table.

It knows what a point holds and how it is counted; it does not know where samples come from nor
what points are put together for.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from s1ray.evaluation.metrics import (
    compute_quantile,
    count_layers,
    count_verdicts,
    estimate_accuracy,
    estimate_pass_at_k,
    group_marks,
    is_correct,
)
from s1ray.evaluation.samples import Score
from s1ray.evaluation.scaling import control_of_samples
from s1ray.records import Verdict

Samples = Sequence[Score]


class Limited(Protocol):
    """What was to keep to a length of thinking."""

    @property
    def max_thinking_tokens(self) -> int | None:
        """The cap. None: the model's own end."""
        ...

    @property
    def asked_thinking_tokens(self) -> int | None:
        """What the prompt asked for, in tokens; None where it named no number."""
        ...


class Policy(Limited, Protocol):
    """The part of a budget policy that results speak of."""

    @property
    def name(self) -> str:
        """As in the samples."""
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
    def instruction(self) -> str:
        """What the prompt asks of the thinking's length; empty for nothing."""
        ...

    @property
    def is_step_limited(self) -> bool:
        """Whether steps are counted instead of tokens."""
        ...

    @property
    def max_tries(self) -> int:
        """Chains drawn until one ends by itself within the cap."""
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
    asked_thinking_tokens: int | None
    """What the prompt asked for, enforced or not; None for no number."""
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
    """Share of samples within the cap, or else what the prompt asked for; None for neither."""
    tokens_per_correct: float | None
    """Generated tokens per correct answer, each sample's whole chain counted as its own."""
    pass_at: Mapping[str, float | None]
    """pass@k by k; None where an item has fewer than k scored samples."""
    verdicts: Mapping[str, int]
    layers: Mapping[str, int]
    """How many samples each layer decided; judge_refused: stayed incorrect without the judge."""


def summarise(
    samples: Iterable[Score],
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
    by_point: dict[tuple[str, str, str], list[Score]] = {}
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
    thinking = [sample.num_thinking_tokens for sample in samples]
    graded = [sample for sample in samples if sample.graded.verdict is not Verdict.UNSCORED]
    num_correct = sum(is_correct(sample) for sample in samples)
    num_generated = sum(sample.num_generated_tokens for sample in samples)
    return Point(
        benchmark=samples[0].task.benchmark,
        model=model,
        policy=policy.name,
        max_thinking_tokens=policy.max_thinking_tokens,
        asked_thinking_tokens=policy.asked_thinking_tokens,
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
        forced=_mean([sample.is_answer_forced for sample in samples]),
        control=control_of_samples(thinking, max_thinking_tokens=find_bound(policy)),
        tokens_per_correct=num_generated / num_correct if num_correct else None,
        pass_at={str(k): _pass_at(samples, k=k) for k in pass_at},
        verdicts=count_verdicts(samples),
        layers=count_layers(samples),
    )


def find_bound(limited: Limited) -> int | None:
    """Return the thinking tokens that were to be kept to: the cap, or else what was asked for."""
    cap = limited.max_thinking_tokens
    return limited.asked_thinking_tokens if cap is None else cap


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _share(hits: Iterable[bool]) -> float | None:
    values = list(hits)
    return sum(values) / len(values) if values else None


def _pass_at(samples: Samples, *, k: int) -> float | None:
    if any(len(marks) < k for marks in group_marks(samples).values()):
        return None
    estimate = estimate_pass_at_k(samples, k=k)
    return estimate.value if estimate else None
