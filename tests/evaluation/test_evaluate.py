"""The evaluation: every sample once, as soon as it is there, and no more at once than allowed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

from s1ray.evaluation.evaluate import evaluate
from s1ray.evaluation.samples import EvaluatedSample, FailedSample, SampleGroup
from s1ray.evaluation.store import SAMPLES, SampleStore, read_samples
from s1ray.records import Completion, Verdict
from tests.evaluation.builders import make_completion, make_runtime, make_sample, open_store
from tests.evaluation.scripted_evaluations import (
    POLICIES,
    collect,
    grade_all,
    list_done,
    make_groups,
    open_both,
    solve_all,
)

EVERYTHING = [(f"{item:02}", policy) for item in range(10) for policy in POLICIES]


async def run_to_the_end(tmp_path: Path) -> list[EvaluatedSample | FailedSample]:
    with open_store(tmp_path / SAMPLES) as store:
        return await collect(make_groups(10), store)


def test_evaluate_yields_and_stores_every_sample_once(tmp_path: Path) -> None:
    outcomes = asyncio.run(run_to_the_end(tmp_path))

    assert sorted((outcome.task.item, outcome.task.policy) for outcome in outcomes) == EVERYTHING
    assert list_done(tmp_path / SAMPLES) == EVERYTHING
    assert {
        outcome.graded.verdict
        for outcome in outcomes
        if isinstance(outcome, EvaluatedSample) and outcome.task.item == "01"
    } == {Verdict.CORRECT}


def test_evaluate_again_does_nothing(tmp_path: Path) -> None:
    asyncio.run(run_to_the_end(tmp_path))

    assert asyncio.run(run_to_the_end(tmp_path)) == []


def test_evaluate_asks_only_for_the_policies_that_are_missing(tmp_path: Path) -> None:
    asked = []

    async def solve(group: SampleGroup) -> AsyncIterator[tuple[str, Completion]]:
        asked.append((group.question.id, group.policies))
        async for found in solve_all(group):
            yield found

    with open_store(tmp_path / SAMPLES) as store:
        store.append(make_sample("00", policy="natural"))
        asyncio.run(collect(make_groups(2), store, solve=solve))

    assert asked == [("00", ("cap_8",)), ("01", POLICIES)]


def test_evaluate_sample_is_in_the_file_when_it_is_yielded(tmp_path: Path) -> None:
    async def scenario() -> None:
        with open_both(tmp_path) as (store, aside):
            async for outcome in evaluate(
                make_groups(3),
                solve=solve_all,
                grade=grade_all,
                store=store,
                aside=aside,
                runtime=make_runtime(),
                max_in_flight=2,
            ):
                assert outcome in list(read_samples(tmp_path / SAMPLES))

    asyncio.run(scenario())


def test_evaluate_first_sample_comes_before_the_rest_is_solved(tmp_path: Path) -> None:
    async def scenario() -> EvaluatedSample | FailedSample:
        never = asyncio.Event()

        async def solve(group: SampleGroup) -> AsyncIterator[tuple[str, Completion]]:
            if group.question.id != "03":
                await never.wait()
            yield "cap_8", make_completion()
            await never.wait()

        with open_both(tmp_path) as (store, aside):
            outcomes = evaluate(
                make_groups(8),
                solve=solve,
                grade=grade_all,
                store=store,
                aside=aside,
                runtime=make_runtime(),
                max_in_flight=8,
            )
            async with aclosing(outcomes):
                return await asyncio.wait_for(anext(outcomes), timeout=5)

    outcome = asyncio.run(scenario())

    assert (outcome.task.item, outcome.task.policy) == ("03", "cap_8")


def test_evaluate_keeps_to_its_bound_and_uses_it(tmp_path: Path) -> None:
    running: set[str] = set()
    seen = []

    async def solve(group: SampleGroup) -> AsyncIterator[tuple[str, Completion]]:
        running.add(group.question.id)
        seen.append(len(running))
        async for found in solve_all(group):
            await asyncio.sleep(0)
            yield found
        running.remove(group.question.id)

    with open_store(tmp_path / SAMPLES) as store:
        asyncio.run(collect(make_groups(20), store, solve=solve, max_in_flight=3))

    assert max(seen) == 3


def test_evaluate_left_early_stops_its_workers(tmp_path: Path) -> None:
    stopped = []

    async def solve(group: SampleGroup) -> AsyncIterator[tuple[str, Completion]]:
        try:
            async for found in solve_all(group):
                yield found
            await asyncio.Event().wait()
        finally:
            stopped.append(group.question.id)

    async def scenario() -> set[asyncio.Task[object]]:
        with open_both(tmp_path) as (store, aside):
            outcomes = evaluate(
                make_groups(9),
                solve=solve,
                grade=grade_all,
                store=store,
                aside=aside,
                runtime=make_runtime(),
                max_in_flight=3,
            )
            async with aclosing(outcomes):
                await anext(outcomes)
        return asyncio.all_tasks() - {asyncio.current_task()}

    left = asyncio.run(scenario())

    assert left == set()
    assert sorted(stopped) == ["00", "01", "02"]


def test_evaluate_old_rows_become_durable_while_nothing_comes(tmp_path: Path) -> None:
    async def scenario() -> int:
        store = SampleStore(
            tmp_path / SAMPLES,
            sync_rows=1000,
            sync_seconds=0.02,
            clock=asyncio.get_running_loop().time,
        )

        async def solve(group: SampleGroup) -> AsyncIterator[tuple[str, Completion]]:
            yield "cap_8", make_completion()
            while store.num_unsynced_rows:
                await asyncio.sleep(0.005)
            yield "natural", make_completion()

        with store:
            return len(await asyncio.wait_for(collect(make_groups(1), store, solve=solve), 10))

    assert asyncio.run(scenario()) == 2
