"""From samples to the content of results.json: what stands there beside the points."""

import json
from dataclasses import replace
from typing import Any

import pytest

from s1ray.config.evaluation import EvaluationConfig
from s1ray.evaluation.metrics import measure_cost
from s1ray.evaluation.results import build_results, describe_flips, describe_scaling
from s1ray.evaluation.samples import Score
from s1ray.generation.budget import BudgetPolicy
from tests.evaluation.builders import (
    MODELS,
    R,
    W,
    make_policy,
    make_runtime,
    make_score,
    make_scores,
    summarise_all,
    think,
)


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
