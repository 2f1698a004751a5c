"""Grading apart from generation: what cannot be graded is put aside, what is stored graded anew."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from s1ray.evaluation.evaluate import UNGRADED, Grade, regrade
from s1ray.evaluation.samples import EvaluatedSample, FailedSample, SampleGroup
from s1ray.evaluation.store import SAMPLES, UNGRADED_SAMPLES, read_samples
from s1ray.records import Completion, GradedAnswer, Verdict
from tests.evaluation.builders import make_group, make_runtime, make_sample
from tests.evaluation.scripted_evaluations import (
    POLICIES,
    collect,
    grade_all,
    list_done,
    make_groups,
    open_both,
    solve_all,
)


async def fail_to_grade_item_00(group: SampleGroup, completion: Completion) -> GradedAnswer:
    if group.question.id == "00":
        raise OSError("no judge for 'What is 00?'")
    return await grade_all(group, completion)


def test_evaluate_what_cannot_be_graded_is_put_aside_and_not_generated_again(
    tmp_path: Path,
) -> None:
    asked = []

    async def solve(group: SampleGroup) -> AsyncIterator[tuple[str, Completion]]:
        asked.append(group.question.id)
        async for found in solve_all(group):
            yield found

    for _ in range(2):
        with open_both(tmp_path) as (store, aside):
            asyncio.run(
                collect(
                    make_groups(2), store, aside=aside, solve=solve, grade=fail_to_grade_item_00
                )
            )

    assert asked == ["00", "01"]
    assert list_done(tmp_path / SAMPLES) == [("01", policy) for policy in POLICIES]
    left = list(read_samples(tmp_path / UNGRADED_SAMPLES))
    assert [(sample.task.item, sample.task.policy) for sample in left] == [
        ("00", policy) for policy in POLICIES
    ]
    assert {sample.graded for sample in left} == {UNGRADED}


def test_evaluate_verdict_unscored_of_the_grader_itself_is_a_verdict(tmp_path: Path) -> None:
    async def grade(group: SampleGroup, completion: Completion) -> GradedAnswer:
        return GradedAnswer(verdict=Verdict.UNSCORED, extracted="4", layer=None)

    with open_both(tmp_path) as (store, aside):
        asyncio.run(collect(make_groups(1), store, aside=aside, grade=grade))

    assert list_done(tmp_path / SAMPLES) == [("00", policy) for policy in POLICIES]


async def regrade_all(
    samples: list[EvaluatedSample],
    groups: list[SampleGroup],
    *,
    grade: Grade,
    max_in_flight: int,
    max_consecutive_failures: int = 100,
) -> list[EvaluatedSample | FailedSample]:
    runtime = make_runtime(max_consecutive_failures=max_consecutive_failures)
    outcomes = regrade(samples, groups, grade=grade, runtime=runtime, max_in_flight=max_in_flight)
    return [one async for one in outcomes]


def test_regrade_changes_verdicts_in_order_and_generates_nothing() -> None:
    samples = [make_sample(f"{item:02}", Verdict.UNSCORED) for item in range(7)]

    found = asyncio.run(regrade_all(samples, make_groups(10), grade=grade_all, max_in_flight=3))

    assert [sample.task for sample in found] == [sample.task for sample in samples]
    assert [one.graded.verdict for one in found if isinstance(one, EvaluatedSample)] == [
        Verdict.CORRECT if index == 1 else Verdict.INCORRECT for index in range(7)
    ]


def test_regrade_tells_what_cannot_be_graded_and_grades_the_rest() -> None:
    samples = [make_sample("00"), make_sample("01")]
    groups = make_groups(2)
    private = [make_group("00", is_private=True), *groups[1:]]

    told, secret = (
        asyncio.run(regrade_all(samples, asked, grade=fail_to_grade_item_00, max_in_flight=1))
        for asked in (groups, private)
    )

    assert [type(one) for one in told] == [FailedSample, EvaluatedSample]
    errors = [one.error for one in (told[0], secret[0]) if isinstance(one, FailedSample)]
    assert errors == ["OSError: no judge for 'What is 00?'", "OSError."]


def test_regrade_ends_early_where_everything_fails() -> None:
    async def grade(group: SampleGroup, completion: Completion) -> GradedAnswer:
        raise ConnectionError("the endpoint is gone")

    samples = [make_sample(f"{item:02}") for item in range(10)]

    found = asyncio.run(
        regrade_all(
            samples, make_groups(10), grade=grade, max_in_flight=2, max_consecutive_failures=3
        )
    )

    assert [one.task.item for one in found] == ["00", "01", "02", "03"]


def test_regrade_sample_of_no_question_is_refused() -> None:
    with pytest.raises(ValueError, match="bench/99 sample 0 under p is none of the 2 questions"):
        asyncio.run(
            regrade_all([make_sample("99")], make_groups(2), grade=grade_all, max_in_flight=1)
        )
