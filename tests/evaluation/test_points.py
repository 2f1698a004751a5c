"""Points: what each counts of its samples, and the order they come in."""

from dataclasses import replace

import pytest

from s1ray.evaluation.points import Point
from s1ray.evaluation.results import describe_scaling
from s1ray.records import Verdict
from tests.evaluation.builders import (
    R,
    W,
    make_policy,
    make_score,
    make_scores,
    summarise_all,
    think,
)


def test_point_of_one_policy_counts_what_happened() -> None:
    samples = [
        make_score("1", R, policy="cap_8", completion=think(8, is_forced=True)),
        make_score("2", W, policy="cap_8", completion=think(2), layer="judge_refused"),
        make_score("3", Verdict.NO_ANSWER, policy="cap_8", extracted=None, completion=think(12)),
        make_score("4", Verdict.UNSCORED, policy="cap_8", extracted=None, completion=think(6)),
    ]

    (point,) = summarise_all(samples, make_policy("cap_8", cap=8))

    assert point == Point(
        benchmark="bench",
        model="trained",
        policy="cap_8",
        max_thinking_tokens=8,
        asked_thinking_tokens=None,
        min_thinking_tokens=None,
        num_waits=0,
        num_samples=4,
        num_items=4,
        accuracy=pytest.approx(1 / 3),
        stderr=pytest.approx(1 / 3),  # sample deviation of 1, 0, 0 over the root of 3
        thinking_tokens=7.0,
        thinking_tokens_quantiles={"0.5": 7.0, "1.0": 12},
        answered=pytest.approx(2 / 3),
        forced=0.25,
        control=0.75,
        tokens_per_correct=28 + 4 * 3,
        pass_at={"1": pytest.approx(1 / 3)},
        verdicts={
            "correct": 1, "incorrect": 1, "no_answer": 1, "timeout": 0, "gold_error": 0,
            "unscored": 1,
        },
        layers={"judge_refused": 1, "none": 3},
    )  # fmt: skip


def test_control_is_of_what_the_prompt_asked_for_where_nothing_is_enforced() -> None:
    policies = [
        replace(make_policy("token_8"), asked_thinking_tokens=8),
        replace(make_policy("step_1"), asked_thinking_tokens=100),
        make_policy("natural"),
    ]
    samples = [
        make_score("1", policy=policy, completion=think(num_tokens))
        for policy, num_tokens in [("token_8", 12), ("step_1", 50), ("natural", 70)]
    ]

    points = summarise_all(samples, *policies)

    assert [point.control for point in points] == [0.0, 1.0, None]
    assert describe_scaling(points)["bench/trained"]["control"] == 0.5


def test_points_come_in_the_order_of_benchmarks_models_and_policies() -> None:
    samples = [
        make_score("1", benchmark=benchmark, model=model, policy=policy)
        for policy in ("wait_1", "cap_8")
        for model in ("b", "a")
        for benchmark in ("math", "aime")
    ]

    points = summarise_all(
        samples,
        make_policy("cap_8", cap=8),
        make_policy("wait_1", waits=1),
        models={"b": "base", "a": "trained"},
    )

    assert [(point.benchmark, point.model, point.policy) for point in points] == [
        ("aime", "base", "cap_8"), ("aime", "base", "wait_1"),
        ("aime", "trained", "cap_8"), ("aime", "trained", "wait_1"),
        ("math", "base", "cap_8"), ("math", "base", "wait_1"),
        ("math", "trained", "cap_8"), ("math", "trained", "wait_1"),
    ]  # fmt: skip


def test_point_pass_at_k_is_left_out_where_samples_are_missing() -> None:
    samples = [*make_scores("RW", item="x"), *make_scores("WWW", item="y")]

    (point,) = summarise_all(samples, make_policy("p"), pass_at=(1, 2, 3))

    assert point.pass_at == {"1": 0.25, "2": 0.5, "3": None}


def test_point_with_nothing_scored_has_no_accuracy() -> None:
    (point,) = summarise_all([make_score("1", Verdict.UNSCORED, extracted=None)], make_policy("p"))

    assert (point.accuracy, point.stderr, point.answered) == (None, None, None)
    assert (point.control, point.tokens_per_correct) == (None, None)
    assert describe_scaling([point])["bench/trained"]["performance"] is None


@pytest.mark.parametrize(
    ("policy", "model"), [("cap_8", "digest"), ("p", "another digest")], ids=["policy", "model"]
)
def test_sample_of_an_unknown_policy_or_model_is_refused(policy: str, model: str) -> None:
    with pytest.raises(ValueError, match=rf"policy '{policy}' and model '{model}'; known are"):
        summarise_all([make_score("1", policy=policy, model=model)], make_policy("p"))
