"""Evaluations whose solver and grader are scripts, and what they leave in their files."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from s1ray.evaluation.evaluate import Grade, Solve, evaluate
from s1ray.evaluation.samples import EvaluatedSample, FailedSample, SampleGroup
from s1ray.evaluation.store import SAMPLES, UNGRADED_SAMPLES, SampleStore, read_samples
from s1ray.records import Completion, GradedAnswer, Verdict
from tests.evaluation.builders import make_completion, make_group, make_runtime, open_store

POLICIES = ("cap_8", "natural")


async def solve_all(group: SampleGroup) -> AsyncIterator[tuple[str, Completion]]:
    for position, policy in enumerate(group.policies):
        await asyncio.sleep(0)
        yield policy, make_completion(thinking_ids=(group.seed, position))


async def grade_all(group: SampleGroup, completion: Completion) -> GradedAnswer:
    await asyncio.sleep(0)
    verdict = Verdict.CORRECT if group.question.id.endswith("1") else Verdict.INCORRECT
    return GradedAnswer(verdict=verdict, extracted=completion.answer, layer="string")


def make_groups(count: int) -> list[SampleGroup]:
    return [make_group(f"{item:02}", policies=POLICIES) for item in range(count)]


async def collect(
    groups: list[SampleGroup],
    store: SampleStore,
    *,
    aside: SampleStore | None = None,
    solve: Solve = solve_all,
    grade: Grade = grade_all,
    max_in_flight: int = 4,
    max_attempts: int = 3,
    max_consecutive_failures: int = 100,
) -> list[EvaluatedSample | FailedSample]:
    with ExitStack() as stack:
        if aside is None:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            aside = stack.enter_context(open_store(folder / UNGRADED_SAMPLES))
        outcomes = evaluate(
            groups,
            solve=solve,
            grade=grade,
            store=store,
            aside=aside,
            runtime=make_runtime(
                max_attempts=max_attempts, max_consecutive_failures=max_consecutive_failures
            ),
            max_in_flight=max_in_flight,
        )
        return [outcome async for outcome in outcomes]


@contextmanager
def open_both(folder: Path) -> Iterator[tuple[SampleStore, SampleStore]]:
    with (
        open_store(folder / SAMPLES) as store,
        open_store(folder / UNGRADED_SAMPLES) as aside,
    ):
        yield store, aside


def list_done(path: Path) -> list[tuple[str, str]]:
    return sorted((sample.task.item, sample.task.policy) for sample in read_samples(path))
