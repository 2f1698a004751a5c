"""The plan of an evaluation and the rows of its samples."""

import json

import pytest
from hypothesis import given

from s1ray.evaluation.samples import (
    EvaluatedSample,
    SampleGroup,
    derive_seed,
    from_row,
    plan_groups,
    to_row,
)
from tests.evaluation.any_samples import ANY_SAMPLE
from tests.evaluation.builders import make_question, make_sample


def plan(
    benchmarks: dict[str, list[str]],
    *,
    num_samples: int = 1,
    seed: int = 0,
    policies: tuple[str, ...] = ("cap_8", "natural"),
) -> tuple[SampleGroup, ...]:
    return plan_groups(
        {name: [make_question(item) for item in items] for name, items in benchmarks.items()},
        private={"gpqa"},
        policies=policies,
        model="digest",
        num_samples=num_samples,
        seed=seed,
    )


def test_plan_reaches_every_item_before_it_repeats_any() -> None:
    groups = plan({"aime": ["1", "2"], "gpqa": ["q"]}, num_samples=2)

    assert [(group.benchmark, group.question.id, group.sample) for group in groups] == [
        ("aime", "1", 0), ("aime", "2", 0), ("gpqa", "q", 0),
        ("aime", "1", 1), ("aime", "2", 1), ("gpqa", "q", 1),
    ]  # fmt: skip
    assert [group.is_private for group in groups] == [False, False, True] * 2
    assert {group.policies for group in groups} == {("cap_8", "natural")}


def test_plan_seeds_depend_on_nothing_but_run_benchmark_item_and_sample() -> None:
    small = plan({"aime": ["1", "2"]}, num_samples=2, seed=5)
    large = plan({"math": ["2", "1"], "aime": ["3", "2", "1"]}, num_samples=4, seed=5)
    seeds = {(group.benchmark, group.question.id, group.sample): group.seed for group in large}

    assert all(
        seeds[group.benchmark, group.question.id, group.sample] == group.seed for group in small
    )
    assert len(set(seeds.values())) == len(seeds)
    assert plan({"aime": ["1"]}, seed=6)[0].seed != plan({"aime": ["1"]}, seed=5)[0].seed


def test_seed_stays_what_it_was() -> None:
    # First 31 bits of sha256("0/aime24/60/0"): printf 0/aime24/60/0 | sha256sum gives e9808944...
    assert derive_seed(0, benchmark="aime24", item="60", sample=0) == 1958757538


def test_plan_repeated_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="aime has 1 ids more than once, such as '2'"):
        plan({"aime": ["1", "2", "2"]})


def test_plan_empty_benchmark_is_refused() -> None:
    with pytest.raises(ValueError, match="benchmark aime has no questions"):
        plan({"aime": []})


@pytest.mark.parametrize("policies", [(), ("a", "a")])
def test_plan_missing_or_repeated_policies_are_refused(policies: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="at least one is needed and each only once"):
        plan({"aime": ["1"]}, policies=policies)


def test_plan_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="num_samples=0; it must be at least 1"):
        plan({"aime": ["1"]}, num_samples=0)


@given(sample=ANY_SAMPLE)
def test_row_of_a_sample_reads_back_as_the_sample(sample: EvaluatedSample) -> None:
    row = json.loads(json.dumps(to_row(sample), ensure_ascii=False))

    assert from_row(row) == sample


def test_row_has_the_fields_of_the_run_directory_contract() -> None:
    assert list(to_row(make_sample("1"))) == [
        "benchmark", "item", "sample", "policy", "model", "seed", "question", "gold",
        "thinking", "answer", "thinking_ids", "answer_ids", "wait_positions",
        "num_waits_applied", "num_generated_tokens", "thinking_end", "is_answer_forced",
        "is_answer_complete", "verdict", "extracted", "layer",
    ]  # fmt: skip
