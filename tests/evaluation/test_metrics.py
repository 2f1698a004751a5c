"""Metrics against published numbers, brute force and the standard library."""

import math
import statistics
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s1ray.evaluation.metrics import (
    Flips,
    RunningAccuracy,
    compute_pass_at_k,
    compute_quantile,
    count_flips,
    count_verdicts,
    estimate_accuracy,
    estimate_pass_at_k,
    measure_cost,
    standard_error,
)
from s1ray.evaluation.samples import Score
from s1ray.records import Verdict
from tests.evaluation.builders import R, W, make_completion, make_score, make_scores


@pytest.mark.parametrize(
    ("solved", "mean", "error"),
    [
        ([7, 7, 6, 9, 5, 8, 5, 8, 6, 7], 22.67, 1.32),
        ([10, 10, 8, 11, 11, 7, 8, 7, 6, 11], 29.67, 1.91),
    ],
)
def test_standard_error_of_repeated_runs_matches_published_cards(
    solved: list[int], mean: float, error: float
) -> None:
    # Source: mlfoundations-dev evaluation cards, AIME24, ten runs of 30 questions.
    percent = [100 * correct / 30 for correct in solved]

    found = standard_error(percent, ddof=0)

    assert found is not None
    assert round(statistics.fmean(percent), 2) == mean
    assert round(found, 2) == error


def test_accuracy_single_samples_have_the_binomial_error() -> None:
    estimate = estimate_accuracy(make_scores("RRRWWWWWWW" * 3))

    assert estimate is not None
    assert estimate.value == pytest.approx(0.3)
    assert estimate.stderr == pytest.approx(math.sqrt(0.3 * 0.7 / 29))
    assert (estimate.num_items, estimate.num_samples) == (30, 30)


def test_accuracy_repeated_samples_are_clustered_by_item() -> None:
    # All samples of an item agree: sixteen samples of each say no more than one does.
    once = make_scores("RRWWW")
    often = [
        make_score(sample.task.item, sample.graded.verdict, sample=number)
        for sample in once
        for number in range(16)
    ]

    single, repeated = estimate_accuracy(once), estimate_accuracy(often)

    assert single is not None
    assert repeated is not None
    assert repeated.stderr == pytest.approx(single.stderr)
    assert repeated.stderr == pytest.approx(statistics.stdev([1, 1, 0, 0, 0]) / math.sqrt(5))
    assert repeated.num_samples == 80


def test_accuracy_counts_no_answer_and_timeout_but_neither_unscored_nor_gold_error() -> None:
    counts = {
        R: 1, W: 1, Verdict.NO_ANSWER: 2, Verdict.TIMEOUT: 4, Verdict.GOLD_ERROR: 8,
        Verdict.UNSCORED: 16,
    }  # fmt: skip
    verdicts = [verdict for verdict, count in counts.items() for _ in range(count)]
    samples = [make_score(str(item), verdict) for item, verdict in enumerate(verdicts)]

    estimate = estimate_accuracy(samples)

    assert estimate is not None
    assert (estimate.value, estimate.num_items) == (1 / 8, 8)
    assert count_verdicts(samples) == counts


def test_accuracy_of_nothing_scored_is_none_and_of_one_item_has_no_error() -> None:
    one = estimate_accuracy(make_scores("R"))

    assert estimate_accuracy([make_score("x", Verdict.UNSCORED)]) is None
    assert one is not None
    assert (one.value, one.stderr) == (1.0, None)


@pytest.mark.parametrize("num_samples", [1, 2, 5, 7])
def test_pass_at_k_equals_the_share_of_all_subsets_with_a_correct_sample(num_samples: int) -> None:
    for num_correct in range(num_samples + 1):
        marks = [index < num_correct for index in range(num_samples)]
        for k in range(1, num_samples + 1):
            subsets = list(combinations(marks, k))
            share = sum(any(subset) for subset in subsets) / len(subsets)
            found = compute_pass_at_k(num_samples=num_samples, num_correct=num_correct, k=k)
            assert found == pytest.approx(share)


def test_pass_at_1_does_not_fall_with_the_number_of_samples() -> None:
    # lighteval #771: .4375 .2188 .1094 .0547 at n = 8, 16, 32, 64, since it divided by the number
    # of samples asked for rather than of those received.
    found = [
        compute_pass_at_k(num_samples=received, num_correct=7 * received // 16, k=1)
        for received in (16, 32, 64)
    ]

    assert found == pytest.approx([0.4375] * 3)


@pytest.mark.parametrize("k", [0, 4])
def test_pass_at_k_beyond_the_samples_received_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=rf"pass@{k} needs .* 3 samples were received"):
        estimate_pass_at_k(make_scores("RWR", item="x"), k=k)


def test_pass_at_k_averages_over_items() -> None:
    samples = [*make_scores("RWW", item="x"), *make_scores("WWW", item="y")]

    estimate = estimate_pass_at_k(samples, k=2)

    assert estimate is not None
    assert estimate.value == pytest.approx((2 / 3 + 0) / 2)


@given(values=st.lists(st.integers(0, 10**6), min_size=2, max_size=40))
def test_quantiles_equal_those_of_the_standard_library(values: list[int]) -> None:
    found = [compute_quantile(values, share=share) for share in (0.25, 0.5, 0.75)]

    assert found == pytest.approx(statistics.quantiles(values, n=4, method="inclusive"))
    assert compute_quantile(values, share=1.0) == max(values)
    assert compute_quantile(values, share=0.0) == min(values)


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.5)])
def test_quantile_of_nothing_or_beyond_the_range_is_refused(
    values: list[float], share: float
) -> None:
    with pytest.raises(ValueError, match="needs a value and a share"):
        compute_quantile(values, share=share)


def test_flips_pair_samples_and_leave_out_unscored_and_unpaired_ones() -> None:
    samples = [
        *make_scores("RRRWWWW", policy="natural"),
        *make_scores("RRWRRW", policy="wait_1"),
        make_score("900", R, policy="natural"),
        make_score("900", Verdict.UNSCORED, policy="wait_1"),
        make_score("000", W, policy="wait_2"),
    ]

    flips = count_flips(samples, before="natural", after="wait_1")

    assert flips == Flips(
        before="natural", after="wait_1", num_pairs=6, right_to_wrong=1, wrong_to_right=2
    )


sample_lists = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from(list(Verdict))), max_size=60
).map(
    lambda pairs: [
        make_score(str(item), verdict, sample=index) for index, (item, verdict) in enumerate(pairs)
    ]
)


@given(samples=sample_lists)
def test_running_accuracy_equals_that_of_all_samples_at_once(
    samples: list[Score],
) -> None:
    running = RunningAccuracy()
    for sample in samples:
        running.add(sample.task, sample.graded.verdict)
    found, expected = running.estimate(), estimate_accuracy(samples)

    if expected is None:
        assert found is None
        return
    assert found is not None
    assert found.value == pytest.approx(expected.value)
    assert (found.num_items, found.num_samples) == (expected.num_items, expected.num_samples)
    if expected.stderr is None:
        assert found.stderr is None
    else:
        assert found.stderr == pytest.approx(expected.stderr, abs=1e-7)


def test_cost_is_told_in_total_and_per_correct_answer() -> None:
    long = make_completion(thinking_ids=tuple(range(95)))
    samples = [make_score("1", R, completion=long), make_score("2", W), make_score("3", R)]

    cost = measure_cost(samples, seconds=12.0, dollars=3.0)

    assert cost == {
        "seconds": 12.0,
        "dollars": 3.0,
        "generated_tokens": 98 + 6 + 6,
        "thinking_tokens": 95 + 3 + 3,
        "correct": 2,
        "tokens_per_correct": 55.0,
        "dollars_per_correct": 1.5,
    }


def test_cost_without_price_or_correct_answer_leaves_the_ratio_out() -> None:
    unpriced = measure_cost([make_score("1", R)], seconds=1.0, dollars=None)
    hopeless = measure_cost([make_score("1", W)], seconds=1.0, dollars=2.0)

    assert (unpriced["dollars"], unpriced["dollars_per_correct"]) == (None, None)
    assert (hopeless["tokens_per_correct"], hopeless["dollars_per_correct"]) == (None, None)
