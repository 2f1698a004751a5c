"""Votes against brute force over orders and subsets."""

import math
from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s1ray.evaluation.voting import (
    Vote,
    count_members,
    estimate_vote,
    expect_vote,
    prefer_short,
    score_vote,
)
from s1ray.records import Verdict
from tests.evaluation.builders import R, W, make_completion, make_score


def equal_numbers(a: str, b: str) -> bool:
    return float(a) == float(b)


def make_votes(answers: list[str | None], *, gold: str, tokens: int = 10) -> list[Vote]:
    return [
        Vote(
            answer=answer,
            is_correct=answer is not None and equal_numbers(answer, gold),
            num_tokens=tokens,
        )
        for answer in answers
    ]


def first_past_the_post(votes: list[Vote]) -> float:
    """Elect the first answer that reaches the highest count, as most evaluators do."""
    counts: dict[float, int] = {}
    for vote in votes:
        if vote.answer is not None:
            counts[float(vote.answer)] = counts.get(float(vote.answer), 0) + 1
    if not counts:
        return 0.0
    winner = max(counts, key=lambda value: counts[value])
    return float(
        any(
            vote.is_correct
            for vote in votes
            if vote.answer is not None and float(vote.answer) == winner
        )
    )


def test_majority_counts_equal_answers_as_one() -> None:
    # As strings "7" leads with two votes; as numbers "0.5" has three.
    votes = make_votes(["7", "0.5", ".5", "7", "0.50"], gold="0.5")

    assert score_vote(votes, same=equal_numbers, weigh=count_members) == 1.0


def test_majority_averages_ties() -> None:
    votes = make_votes(["1", "1", "2", "2", "3"], gold="2")

    assert score_vote(votes, same=equal_numbers, weigh=count_members) == 0.5


def test_majority_missing_answers_have_no_say() -> None:
    votes = make_votes([None, None, None, "4"], gold="4")

    assert score_vote(votes, same=equal_numbers, weigh=count_members) == 1.0
    assert score_vote(votes[:3], same=equal_numbers, weigh=count_members) == 0.0


answers = st.lists(st.sampled_from(["1", "1.0", "2", "3", None]), min_size=1, max_size=6)


@given(answers=answers)
def test_majority_equals_first_past_the_post_averaged_over_all_orders(
    answers: list[str | None],
) -> None:
    votes = make_votes(answers, gold="1")
    orders = [first_past_the_post(list(order)) for order in permutations(votes)]

    found = score_vote(votes, same=equal_numbers, weigh=count_members)

    assert found == pytest.approx(sum(orders) / len(orders))


@given(answers=answers, data=st.data())
def test_vote_of_a_subset_equals_the_average_over_all_subsets(
    answers: list[str | None], data: st.DataObject
) -> None:
    votes = make_votes(answers, gold="1")
    size = data.draw(st.integers(1, len(votes)))
    subsets = list(combinations(votes, size))
    expected = sum(
        score_vote(subset, same=equal_numbers, weigh=count_members) for subset in subsets
    ) / len(subsets)

    found = expect_vote(
        votes, same=equal_numbers, weigh=count_members, size=size, num_subsets=20, seed=0
    )

    assert found == pytest.approx(expected)


def test_vote_of_a_subset_by_draws_comes_near_the_average_and_is_repeatable() -> None:
    votes = make_votes(["1"] * 6 + ["2"] * 5 + ["3"] * 2, gold="1")
    every = [
        score_vote(subset, same=equal_numbers, weigh=count_members)
        for subset in combinations(votes, 5)
    ]

    drawn = [
        expect_vote(
            votes, same=equal_numbers, weigh=count_members, size=5, num_subsets=1000, seed=3
        )
        for _ in range(2)
    ]

    assert drawn[0] == drawn[1]
    # 1,000 of 1,287 subsets with replacement: five standard errors are 0.08.
    assert drawn[0] == pytest.approx(sum(every) / len(every), abs=0.08)


@pytest.mark.parametrize("size", [0, 3])
def test_vote_of_more_samples_than_received_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"a vote of {size} needs .* 2 samples were received"):
        expect_vote(
            make_votes(["1", "2"], gold="1"),
            same=equal_numbers,
            weigh=count_members,
            size=size,
            num_subsets=10,
            seed=0,
        )


def test_shortest_majority_prefers_the_shorter_of_two_equal_classes() -> None:
    votes = [
        *make_votes(["1", "1"], gold="1", tokens=100),
        *make_votes(["2", "2"], gold="1", tokens=5000),
    ]

    assert score_vote(votes, same=equal_numbers, weigh=count_members) == 0.5
    assert score_vote(votes, same=equal_numbers, weigh=prefer_short) == 1.0
    assert prefer_short(votes[:2]) == pytest.approx(2 / math.log(100))


def test_shortest_majority_of_empty_samples_has_a_finite_weight() -> None:
    assert prefer_short(make_votes(["1"], gold="1", tokens=0)) == pytest.approx(1 / math.log(2))


def test_estimated_vote_leaves_out_unscored_samples_and_averages_items() -> None:
    samples = [
        make_score("x", R, sample=0, extracted="1"),
        make_score("x", R, sample=1, extracted="1.0"),
        make_score("x", W, sample=2, extracted="5"),
        make_score("x", Verdict.UNSCORED, sample=3, extracted=None),
        make_score("y", W, sample=0, extracted="5"),
        make_score("y", W, sample=1, extracted="5"),
        make_score("y", Verdict.NO_ANSWER, sample=2, extracted=None),
    ]

    estimate = estimate_vote(
        samples,
        same={("bench", "x"): equal_numbers, ("bench", "y"): equal_numbers},
        weigh=count_members,
        size=3,
        num_subsets=10,
        seed=0,
    )

    assert estimate is not None
    assert (estimate.value, estimate.num_items) == (0.5, 2)


def test_estimated_vote_compares_the_answers_of_each_item_as_that_item_does() -> None:
    samples = [
        make_score(item, verdict, sample=sample, extracted=extracted)
        for item in ("x", "y")
        for sample, (verdict, extracted) in enumerate(((W, "7"), (W, "7"), (R, "1"), (R, "1.0")))
    ]
    samples += [make_score(item, R, sample=4, extracted="1.00") for item in ("x", "y")]

    estimate = estimate_vote(
        samples,
        same={("bench", "x"): equal_numbers, ("bench", "y"): str.__eq__},
        weigh=count_members,
        size=5,
        num_subsets=10,
        seed=0,
    )

    # As numbers three of x agree on 1; as texts two of y agree on 7, and no others do.
    assert estimate is not None
    assert (estimate.value, estimate.num_items) == (0.5, 2)


def test_estimated_vote_weighs_the_length_of_whole_samples() -> None:
    samples = [
        make_score("x", W, sample=0, extracted="5"),
        make_score(
            "x",
            R,
            sample=1,
            extracted="1",
            completion=make_completion(thinking_ids=tuple(range(500))),
        ),
    ]

    estimate = estimate_vote(
        samples,
        same={("bench", "x"): equal_numbers},
        weigh=prefer_short,
        size=2,
        num_subsets=10,
        seed=0,
    )

    assert estimate is not None
    assert estimate.value == 0.0
