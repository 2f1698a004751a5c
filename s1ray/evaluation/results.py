"""From scores to the content of ``results.json``: points, and what holds between them.

It knows the document's parts; it does not know where samples come from nor where it is written.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from s1ray.config.evaluation import EvaluationConfig
from s1ray.evaluation.metrics import count_flips, group_marks
from s1ray.evaluation.points import Point, Policy, find_bound, summarise
from s1ray.evaluation.samples import Score
from s1ray.evaluation.scaling import control, find_solving_budgets, performance, scaling
from s1ray.evaluation.voting import SameByItem, count_members, estimate_vote, prefer_short

VOTES = {"majority": count_members, "shortest_majority": prefer_short}


def build_results(
    scores: Iterable[Score],
    *,
    policies: Sequence[Policy],
    models: Mapping[str, str],
    config: EvaluationConfig,
    same: SameByItem,
    cost: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of ``results.json``.

    Args:
        scores: Of one evaluation, or of several of the same policies.
        policies: All that occur, in the order the points are to have.
        models: Labels such as "base" by digest, in the order the points are to have.
        config: What is reported.
        same: Whether two answers of an item are equal; read only where votes are asked for.
        cost: As ``metrics.measure_cost`` returns it, or that of several evaluations.

    Raises:
        ValueError: A sample has an unknown policy or model.
    """
    scores = list(scores)
    points = summarise(
        scores,
        policies=policies,
        models=models,
        quantiles=config.quantiles,
        pass_at=config.pass_at,
    )
    families = _split_families(scores, models=models)

    def describe(how: Callable[..., Any], **given: object) -> dict[str, Any]:
        return {name: how(of, policies=policies, **given) for name, of in families.items()}

    return {
        "points": [asdict(point) for point in points],
        "scaling": describe_scaling(points),
        "flips": describe(describe_flips),
        "votes": describe(describe_votes, config=config, same=same),
        "solving_budgets": describe(describe_solving_budgets, solved_share=config.solved_share),
        "cost": dict(cost),
    }


def _split_families(
    scores: Sequence[Score], *, models: Mapping[str, str]
) -> dict[str, list[Score]]:
    """Return scores by "<benchmark>/<model>"."""
    families: dict[str, list[Score]] = {}
    for score in sorted(scores, key=lambda score: score.task.benchmark):
        name = f"{score.task.benchmark}/{models[score.task.model]}"
        families.setdefault(name, []).append(score)
    return families


def describe_scaling(points: Sequence[Point]) -> dict[str, dict[str, Any]]:
    """Return s1's three metrics by "<benchmark>/<model>", over all policies of each.

    ``control`` is the share of limited runs that keep to their cap, or else to what their prompt
    asked for, by their mean, ``control_samples`` the mean share of samples that do; ``scaling`` is
    in percentage points per doubling of thinking tokens; ``performance`` is 0 to 1.
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
            "control": control(map(_bound, family)),
            "control_samples": math.fsum(kept) / len(kept) if kept else None,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounded:
    thinking_tokens: float
    max_thinking_tokens: float | None
    min_thinking_tokens: float | None


def _bound(point: Point) -> _Bounded:
    return _Bounded(
        thinking_tokens=point.thinking_tokens,
        max_thinking_tokens=find_bound(point),
        min_thinking_tokens=point.min_thinking_tokens,
    )


def describe_flips(scores: Sequence[Score], *, policies: Sequence[Policy]) -> list[dict[str, Any]]:
    """Return what each further wait changed.

    Policies that differ in nothing but their number of waits form a ladder; each rung is held
    against the one below it.

    Args:
        scores: Of one benchmark and one model.
        policies: All that occur.
    """
    counted = [
        count_flips(scores, before=before, after=after) for before, after in _find_rungs(policies)
    ]
    return [asdict(flips) for flips in counted if flips.num_pairs]


def _find_rungs(policies: Sequence[Policy]) -> list[tuple[str, str]]:
    ladders: dict[tuple[object, ...], list[Policy]] = {}
    for policy in policies:
        key = (
            policy.max_thinking_tokens,
            policy.min_thinking_tokens,
            policy.wait_strings,
            policy.instruction,
            policy.is_step_limited,
            policy.max_tries,
        )
        ladders.setdefault(key, []).append(policy)
    return [
        (below.name, above.name)
        for ladder in ladders.values()
        for below, above in pairwise(sorted(ladder, key=lambda policy: policy.num_waits))
        if below.num_waits < above.num_waits
    ]


def describe_votes(
    scores: Sequence[Score],
    *,
    policies: Sequence[Policy],
    config: EvaluationConfig,
    same: SameByItem,
) -> list[dict[str, Any]]:
    """Return the accuracy of votes of each size, by policy.

    Args:
        scores: Of one benchmark and one model.
        policies: All that occur.
        config: The sizes, and how many subsets of an item's samples are averaged over.
        same: Whether two answers of an item are equal.

    Raises:
        ValueError: Votes are asked for and an item is missing from ``same``.
    """
    items = {(score.task.benchmark, score.task.item) for score in scores}
    if config.majority_at and not items <= same.keys():
        raise ValueError(
            f"votes of {list(config.majority_at)} samples need to know which answers of "
            f"{scores[0].task.benchmark} are equal. Pass its comparison, or empty "
            "evaluation.majority_at."
        )
    described = []
    for policy in policies:
        of_policy = [score for score in scores if score.task.policy == policy.name]
        fewest = min((len(marks) for marks in group_marks(of_policy).values()), default=0)
        for size in config.majority_at:
            if size > fewest:
                continue
            votes = _describe_vote(of_policy, size=size, config=config, same=same)
            described.append({"policy": policy.name, "size": size, **votes})
    return described


def _describe_vote(
    scores: Sequence[Score], *, size: int, config: EvaluationConfig, same: SameByItem
) -> dict[str, float | None]:
    row: dict[str, float | None] = {}
    for name, weigh in VOTES.items():
        estimate = estimate_vote(
            scores,
            same=same,
            weigh=weigh,
            size=size,
            num_subsets=config.majority_subsets,
            seed=config.seed,
        )
        assert estimate is not None
        row |= {name: estimate.value, f"{name}_stderr": estimate.stderr}
    return row


def describe_solving_budgets(
    scores: Sequence[Score], *, policies: Sequence[Policy], solved_share: float
) -> dict[str, int | None]:
    """Return each item's smallest solving cap; None where no cap solves it.

    Args:
        scores: Of one benchmark and one model.
        policies: Those with a cap alone are the budgets: no waits, no other tries, no
            instruction.
        solved_share: Share of an item's samples that must be correct.
    """
    budgets = {
        policy.name: policy.max_thinking_tokens
        for policy in policies
        if policy.max_thinking_tokens is not None
        and policy.num_waits == 0
        and policy.max_tries == 1
        and not policy.instruction
    }
    return find_solving_budgets(scores, budgets=budgets, solved_share=solved_share)
