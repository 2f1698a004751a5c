"""One answer out of several samples: majority and shortest majority.

Answers vote as equivalence classes, not as strings: what counts as the same answer is a function
that is passed in. Ties are averaged over, never broken by order. The module knows no grader.
"""

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from s1ray.evaluation.metrics import Estimate, estimate_mean, is_correct, is_scored
from s1ray.evaluation.samples import Score

SameAnswer = Callable[[str, str], bool]
"""Whether two extracted answers of a question are the same."""

SameByItem = Mapping[tuple[str, str], SameAnswer]
"""By benchmark and item: questions of one benchmark may have answers of several kinds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One sample's say."""

    answer: str | None
    """None where the sample has no answer; it then has no say."""
    is_correct: bool
    num_tokens: int
    """Length of the sample, for votes that prefer short ones."""


ScoreClass = Callable[[Sequence[Vote]], float]
"""How much a class of equal answers weighs; the heaviest wins."""


def label_votes(votes: Sequence[Vote], *, same: SameAnswer) -> list[int | None]:
    """Return the class of equal answers of each vote, numbered in order of first appearance.

    An answer joins the first class whose first answer it equals. None where there is no answer.
    """
    firsts: list[str] = []
    labels: list[int | None] = []
    for vote in votes:
        if vote.answer is None:
            labels.append(None)
            continue
        for label, first in enumerate(firsts):
            if first == vote.answer or same(first, vote.answer):
                labels.append(label)
                break
        else:
            labels.append(len(firsts))
            firsts.append(vote.answer)
    return labels


def count_members(votes: Sequence[Vote]) -> float:
    """Return a class's weight, its size: the plain majority."""
    return float(len(votes))


def prefer_short(votes: Sequence[Vote]) -> float:
    """Return a class's weight, its size over the log of its mean length: the shortest majority.

    Lengths below 2 tokens count as 2, where the logarithm would not be positive.

    Source: arXiv 2502.12215 (Shortest Majority Vote): c / log l.
    """
    mean_tokens = sum(vote.num_tokens for vote in votes) / len(votes)
    return len(votes) / math.log(max(mean_tokens, 2.0))


def score_vote(votes: Sequence[Vote], *, same: SameAnswer, weigh: ScoreClass) -> float:
    """Return how right the elected answer is: 0 to 1, averaged over classes tied for first place.

    A class is as right as the mean of its members, which differ only where a grader contradicts
    ``same``. Without any answer the vote is 0.
    """
    return _elect(list(zip(votes, label_votes(votes, same=same), strict=True)), weigh=weigh)


def _elect(labelled: Iterable[tuple[Vote, int | None]], *, weigh: ScoreClass) -> float:
    classes: dict[int, list[Vote]] = {}
    for vote, label in labelled:
        if label is not None:
            classes.setdefault(label, []).append(vote)
    if not classes:
        return 0.0
    weights = {label: weigh(members) for label, members in classes.items()}
    top = max(weights.values())
    rights = [
        sum(vote.is_correct for vote in classes[label]) / len(classes[label])
        for label, weight in weights.items()
        if math.isclose(weight, top, rel_tol=_TIE_TOLERANCE)
    ]
    return math.fsum(rights) / len(rights)


_TIE_TOLERANCE = 1e-12
"""Equal weights may differ in the last bits of a logarithm."""


def expect_vote(
    votes: Sequence[Vote],
    *,
    same: SameAnswer,
    weigh: ScoreClass,
    size: int,
    num_subsets: int,
    seed: int,
) -> float:
    """Return the vote of a subset of the samples, averaged over subsets.

    All subsets are taken where they number at most ``num_subsets``, else so many drawn at random:
    a prefix would make the result depend on the samples' order.

    Args:
        votes: All samples of one item.
        same: Whether two answers are equal.
        weigh: ``count_members`` or ``prefer_short``.
        size: Votes in a subset.
        num_subsets: At most so many subsets are tried.
        seed: Of the draw.

    Raises:
        ValueError: The size is less than 1 or more than the votes.
    """
    if not 1 <= size <= len(votes):
        raise ValueError(
            f"a vote of {size} needs 1 <= size <= samples, and {len(votes)} samples were received. "
            "Lower evaluation.majority_at, or raise evaluation.num_samples and run again."
        )
    # Labels once: `same` may be slow, and a subset's classes are the whole's, restricted.
    labelled = list(zip(votes, label_votes(votes, same=same), strict=True))
    results = [
        _elect(subset, weigh=weigh)
        for subset in _choose_subsets(labelled, size=size, num_subsets=num_subsets, seed=seed)
    ]
    return math.fsum(results) / len(results)


def _choose_subsets(
    votes: Sequence[tuple[Vote, int | None]], *, size: int, num_subsets: int, seed: int
) -> Iterable[Sequence[tuple[Vote, int | None]]]:
    if math.comb(len(votes), size) <= num_subsets:
        return combinations(votes, size)
    generator = random.Random(seed)
    return (generator.sample(votes, size) for _ in range(num_subsets))


def estimate_vote(
    samples: Iterable[Score],
    *,
    same: SameByItem,
    weigh: ScoreClass,
    size: int,
    num_subsets: int,
    seed: int,
) -> Estimate | None:
    """Return the accuracy of voting, over the items of one benchmark, model and policy.

    Args:
        samples: Unscored ones are left out.
        same: Whether two extracted answers of an item are equal.
        weigh: ``count_members`` or ``prefer_short``.
        size: Samples in a vote, the "k" of maj@k.
        num_subsets: Subsets of an item's samples to average over.
        seed: Of the draw of subsets.

    Returns:
        None where nothing is scored.

    Raises:
        ValueError: An item has fewer scored samples than ``size``.
    """
    by_item: dict[tuple[str, str], list[Vote]] = {}
    for sample in sorted(samples, key=lambda sample: sample.task.sample):
        if is_scored(sample):
            vote = Vote(
                answer=sample.graded.extracted,
                is_correct=is_correct(sample),
                num_tokens=sample.num_generated_tokens,
            )
            by_item.setdefault((sample.task.benchmark, sample.task.item), []).append(vote)
    return estimate_mean(
        [
            expect_vote(
                votes, same=same[item], weigh=weigh, size=size, num_subsets=num_subsets, seed=seed
            )
        ]
        for item, votes in sorted(by_item.items())
    )
