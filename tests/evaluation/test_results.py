"""From samples to the content of results.json."""

import json
from dataclasses import replace
from typing import Any

import pytest

from s1ray.config.evaluation import EvaluationConfig
from s1ray.evaluation.metrics import measure_cost
from s1ray.evaluation.points import Point, summarise
from s1ray.evaluation.results import build_results, describe_flips, describe_scaling
from s1ray.evaluation.samples import Score
from s1ray.generation.budget import BudgetPolicy
from s1ray.records import Completion, Verdict
from tests.evaluation.builders import (
    R,
    W,
    make_completion,
    make_policy,
    make_runtime,
    make_score,
    make_scores,
)

MODELS = {"digest": "trained"}


def summarise_all(
    samples: list[Score],
    *policies: BudgetPolicy,
    models: dict[str, str] = MODELS,
    pass_at: tuple[int, ...] = (1,),
) -> list[Point]:
    return summarise(
        samples,
        policies=policies,
        models=models,
        quantiles=(0.5, 1.0),
        pass_at=pass_at,
    )


def think(num_tokens: int, *, is_forced: bool = False) -> Completion:
    return make_completion(thinking_ids=tuple(range(num_tokens)), is_answer_forced=is_forced)


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


def test_scaling_is_described_for_every_benchmark_and_model() -> None:
    samples = [
        make_score(item, verdict, policy=policy, completion=think(tokens))
        for policy, tokens, verdicts in (
            ("cap_0", 0, (W, W, W, W)),
            ("cap_8", 8, (R, W, W, W)),
            ("cap_16", 32, (R, R, R, W)),
            ("natural", 64, (R, R, W, W)),
        )
        for item, verdict in zip("abcd", verdicts, strict=True)
    ]
    policies = (
        make_policy("cap_0", cap=0),
        make_policy("cap_8", cap=8),
        make_policy("cap_16", cap=16),
        make_policy("natural"),
    )

    described = describe_scaling(summarise_all(samples, *policies))

    assert described == {
        "bench/trained": {
            "control": pytest.approx(2 / 3),
            "control_samples": pytest.approx(2 / 3),
            # 8 to 32: +50 in two doublings; 8 to 64: +25 in three; 32 to 64: -25 in one.
            "scaling": pytest.approx((50 / 2 + 25 / 3 - 25) / 3),
            "scaling_pairs": 3,
            "scaling_skipped_pairs": 3,
            "performance": 0.75,
        }
    }


def test_flips_hold_each_number_of_waits_against_the_one_below() -> None:
    samples = [
        *make_scores("RRWW", policy="natural"),
        *make_scores("RWRW", policy="wait_1"),
        *make_scores("RRRR", policy="wait_4"),
        *make_scores("RRRR", policy="cap_8"),
    ]
    policies = [
        make_policy("wait_4", waits=4),
        make_policy("cap_8", cap=8),
        make_policy("natural"),
        make_policy("wait_1", waits=1),
    ]

    described = describe_flips(samples, policies=[*policies, make_policy("wait_8", waits=8)])

    assert described == [
        {"before": "natural", "after": "wait_1", "num_pairs": 4, "right_to_wrong": 1,
         "wrong_to_right": 1},
        {"before": "wait_1", "after": "wait_4", "num_pairs": 4, "right_to_wrong": 0,
         "wrong_to_right": 2},
    ]  # fmt: skip
    assert describe_flips(samples, policies=policies[1:2]) == []


def make_config(**changes: Any) -> EvaluationConfig:
    values = {
        "seed": 0,
        "num_samples": 4,
        "quantiles": (0.5,),
        "pass_at": (1,),
        "majority_at": (),
        "majority_subsets": 100,
        "solved_share": 0.5,
        "runtime": make_runtime(),
    }
    return EvaluationConfig.model_validate(values | changes)


def build(samples: list[Score], *policies: BudgetPolicy, **changes: Any) -> dict[str, Any]:
    results = build_results(
        samples,
        policies=policies,
        models=MODELS,
        config=make_config(**changes),
        same={("bench", score.task.item): str.__eq__ for score in samples},
        cost=measure_cost(samples, seconds=1.5, dollars=None),
    )
    read: dict[str, Any] = json.loads(json.dumps(results, allow_nan=False))
    return read


def test_results_hold_the_contract_and_are_plain_json() -> None:
    results = build(make_scores("RW", policy="cap_8"), make_policy("cap_8", cap=8))

    contract = {
        "benchmark", "model", "policy", "max_thinking_tokens", "num_waits", "num_samples",
        "accuracy", "stderr", "thinking_tokens", "answered", "control",
    }  # fmt: skip
    assert contract <= results["points"][0].keys()
    assert {"control", "scaling", "performance"} <= results["scaling"]["bench/trained"].keys()
    assert results["cost"]["seconds"] == 1.5
    assert results["votes"] == {"bench/trained": []}


def test_results_solving_budgets_are_caps_alone() -> None:
    samples = [
        *make_scores("WRW", policy="cap_8"),
        *make_scores("RRW", policy="cap_16"),
        *make_scores("RRR", policy="natural"),
        *make_scores("RRR", policy="wait_1"),
        *make_scores("RRR", policy="reject_16"),
        *make_scores("RRR", policy="token_4_forced"),
    ]

    results = build(
        samples,
        make_policy("cap_8", cap=8),
        make_policy("cap_16", cap=16),
        replace(make_policy("reject_16", cap=16), max_tries=8),
        replace(make_policy("token_4_forced", cap=4), instruction="Think for 4 tokens."),
        make_policy("natural"),
        make_policy("wait_1", cap=4, waits=1),
    )

    assert results["solving_budgets"] == {"bench/trained": {"000": 16, "001": 8, "002": None}}


def make_electorate(policy: str) -> list[Score]:
    short, long = think(10), think(5000)
    return [
        make_score("x", R, policy=policy, sample=0, extracted="1", completion=short),
        make_score("x", R, policy=policy, sample=1, extracted="1", completion=short),
        make_score("x", W, policy=policy, sample=2, extracted="2", completion=long),
        make_score("x", W, policy=policy, sample=3, extracted="2", completion=long),
    ]


def test_results_votes_are_given_by_policy_and_size_where_samples_suffice() -> None:
    samples = [*make_electorate("p"), *make_electorate("q")[:2]]

    results = build(samples, make_policy("p"), make_policy("q", cap=9), majority_at=(2, 4))

    votes = [
        (vote["policy"], vote["size"], vote["majority"], vote["shortest_majority"])
        for vote in results["votes"]["bench/trained"]
    ]
    # Of six pairs of p one agrees rightly, one wrongly and four are split.
    assert votes == [("p", 2, 0.5, pytest.approx(5 / 6)), ("p", 4, 0.5, 1.0), ("q", 2, 1.0, 1.0)]


def test_results_votes_without_a_comparison_are_refused() -> None:
    with pytest.raises(ValueError, match=r"votes of \[2\] samples need to know which answers"):
        build_results(
            make_electorate("p"),
            policies=[make_policy("p")],
            models=MODELS,
            config=make_config(majority_at=(2,)),
            same={},
            cost={},
        )
