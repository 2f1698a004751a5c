"""Two evaluations side by side."""

import gzip
import json
import math
import statistics
from itertools import pairwise

import pytest

from s1ray.evaluation.comparison import (
    Comparison,
    Divergence,
    bootstrap_difference,
    compare_samples,
    describe_resolution,
    find_divergence,
    resolve_difference,
)
from s1ray.evaluation.samples import EvaluatedSample
from s1ray.records import Verdict
from tests.evaluation.builders import R, W, make_completion, make_sample, make_samples
from tests.reference_data import find_reference


def bootstrap(
    a: dict[str, float], b: dict[str, float], *, num_resamples: int = 2000, seed: int = 0
) -> object:
    return bootstrap_difference(a, b, num_resamples=num_resamples, confidence=0.95, seed=seed)


def number(values: list[float]) -> dict[str, float]:
    return {f"{index:04}": value for index, value in enumerate(values)}


def compare(
    a: list[EvaluatedSample], b: list[EvaluatedSample], *, is_common_enough: bool = False
) -> tuple[Comparison, ...]:
    return compare_samples(
        a,
        b,
        is_common_enough=is_common_enough,
        num_resamples=10_000,
        confidence=0.95,
        seed=0,
    )


def test_difference_is_of_b_over_a_and_counts_items_either_way() -> None:
    difference = bootstrap_difference(
        number([1, 1, 0, 0, 0]),
        number([1, 0, 1, 1, 0.5]),
        num_resamples=100,
        confidence=0.95,
        seed=0,
    )

    assert (difference.accuracy_a, difference.accuracy_b) == (0.4, 0.7)
    assert difference.difference == pytest.approx(0.3)
    assert (difference.num_items, difference.num_better, difference.num_worse) == (5, 3, 1)


def test_bootstrap_of_equal_runs_is_exactly_zero() -> None:
    difference = bootstrap_difference(
        number([1, 0, 1]), number([1, 0, 1]), num_resamples=100, confidence=0.95, seed=0
    )

    assert (difference.low, difference.high) == (0.0, 0.0)
    assert not difference.is_resolved


def test_bootstrap_is_repeatable_and_depends_on_its_seed() -> None:
    a, b = number([0, 1] * 40), number([1, 1, 0, 1] * 20)

    assert bootstrap(a, b) == bootstrap(a, b)
    assert bootstrap(a, b, seed=1) != bootstrap(a, b)


def test_bootstrap_order_of_items_does_not_matter() -> None:
    a, b = number([0, 1] * 40), number([1, 1, 0, 1] * 20)

    assert bootstrap(dict(reversed(a.items())), dict(reversed(b.items()))) == bootstrap(a, b)


def test_bootstrap_of_four_real_systems_agrees_with_the_normal_interval() -> None:
    graded = find_reference("graded_outputs/gsm8k_openai_4_models.jsonl.gz")
    with gzip.open(graded, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file.read().split("\n") if line]
    systems = sorted(name for name, value in rows[0].items() if isinstance(value, dict))
    assert len(systems) == 4
    scores = {name: number([float(row[name]["is_correct"]) for row in rows]) for name in systems}
    for one, other in pairwise(systems):
        found = bootstrap_difference(
            scores[one], scores[other], num_resamples=4000, confidence=0.95, seed=0
        )
        paired = [scores[other][item] - scores[one][item] for item in scores[one]]
        half = 1.96 * statistics.stdev(paired) / math.sqrt(len(paired))
        # A percentile of 4,000 draws is good to about 2 % of the half width.
        assert found.low == pytest.approx(statistics.fmean(paired) - half, abs=0.1 * half)
        assert found.high == pytest.approx(statistics.fmean(paired) + half, abs=0.1 * half)


@pytest.mark.parametrize("b", [{"x": 1.0}, {"x": 1.0, "z": 1.0}, {}])
def test_bootstrap_of_different_items_is_refused(b: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a paired difference needs the same items twice; a has 2"):
        bootstrap({"x": 0.0, "y": 1.0}, b)


def test_thirty_questions_resolve_about_nine_points() -> None:
    assert round(100 * resolve_difference(30)) == 9
    assert round(100 * resolve_difference(500)) == 2


def test_one_question_more_of_thirty_is_warned_of_and_half_of_them_is_not() -> None:
    a = make_samples("R" * 10 + "W" * 20)
    (slight,) = compare(a, make_samples("R" * 11 + "W" * 19))
    (clear,) = compare(a, make_samples("R" * 25 + "W" * 5))

    warning = describe_resolution(slight.difference)

    assert warning is not None
    assert warning.startswith("not resolved: +3.3 points [+0.0, +10.0]; 30 questions resolve")
    assert "about 9 points" in warning
    assert describe_resolution(clear.difference) is None


def test_divergence_is_the_first_token_that_differs() -> None:
    a = make_completion(thinking_ids=(1, 2, 3), answer_ids=(7, 8))

    def diverge(thinking: tuple[int, ...], answer: tuple[int, ...]) -> Divergence | None:
        b = make_completion(thinking_ids=thinking, answer_ids=answer)
        return find_divergence(a, b, item="x", sample=0)

    found = [
        diverge((1, 2, 3), (7, 8)),
        diverge((1, 5, 3), (9,)),
        diverge((1, 2), (7, 8)),
        diverge((1, 2, 3), (7, 8, 9)),
    ]

    assert found[0] is None
    assert [(one.part, one.position, one.token_a, one.token_b) for one in found[1:] if one] == [
        ("thinking", 1, 2, 5),
        ("thinking", 2, 3, None),
        ("answer", 2, None, 9),
    ]


def test_comparison_pairs_benchmarks_policies_and_samples() -> None:
    changed = make_completion(thinking_ids=(1, 9))
    a = [*make_samples("RWR"), *make_samples("RR", policy="q")]
    b = [
        make_sample("000", R),
        make_sample("001", R, completion=changed),
        make_sample("002", R),
        *make_samples("RR", policy="r"),
    ]

    (comparison,) = compare(a, b)

    assert (comparison.benchmark, comparison.policy) == ("bench", "p")
    assert comparison.difference.difference == pytest.approx(1 / 3)
    assert comparison.num_identical == 2
    assert [(one.item, one.position) for one in comparison.divergences] == [("001", 1)]


def test_comparison_averages_an_items_samples() -> None:
    (comparison,) = compare(make_samples("RRWW", item="x"), make_samples("RRRW", item="x"))

    assert comparison.difference.accuracy_a == 0.5
    assert comparison.difference.accuracy_b == 0.75


def test_comparison_of_unfinished_runs_is_refused_unless_named() -> None:
    a = make_samples("RWR")
    b = [*make_samples("RW"), make_sample("002", Verdict.UNSCORED), make_sample("003", W)]

    with pytest.raises(ValueError, match=r"2 items are scored in one run only, 2 in both.*allow="):
        compare(a, b)
    (comparison,) = compare(a, b, is_common_enough=True)

    assert (comparison.num_items_left_out, comparison.difference.num_items) == (2, 2)


def test_comparison_without_anything_in_common_is_refused() -> None:
    with pytest.raises(ValueError, match="no benchmark and policy in common"):
        compare(make_samples("R"), make_samples("R", policy="q"))


def test_comparison_of_a_run_with_two_models_is_refused() -> None:
    with pytest.raises(ValueError, match="run b holds samples of 2 models"):
        compare(make_samples("R"), [make_sample("000"), make_sample("000", model="other")])
