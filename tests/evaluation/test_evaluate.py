"""The evaluation against scripted solvers and graders."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from s1ray.evaluation.evaluate import UNGRADED, Grade, Solve, evaluate, regrade
from s1ray.evaluation.samples import EvaluatedSample, FailedSample, SampleGroup
from s1ray.evaluation.store import SAMPLES, UNGRADED_SAMPLES, SampleStore, read_samples
from s1ray.records import Completion, GradedAnswer, Verdict
from tests.evaluation.builders import (
    make_completion,
    make_group,
    make_runtime,
    make_sample,
    open_store,
)

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


def test_evaluate_failing_group_is_asked_again_for_what_is_left_with_its_seed(
    tmp_path: Path,
) -> None:
    asked = []

    async def solve(group: SampleGroup) -> AsyncIterator[tuple[str, Completion]]:
        asked.append((group.policies, group.seed))
        yield group.policies[0], make_completion()
        if len(asked) < 2:
            raise ConnectionError("the replica died")
        for policy in group.policies[1:]:
            yield policy, make_completion()

    group = make_group("00", policies=("a", "b", "c"))
    with open_store(tmp_path / SAMPLES) as store:
        asyncio.run(collect([group], store, solve=solve))

    assert asked == [(("a", "b", "c"), group.seed), (("b", "c"), group.seed)]
    assert list_done(tmp_path / SAMPLES) == [("00", "a"), ("00", "b"), ("00", "c")]


async def fail_at_item_01(group: SampleGroup) -> AsyncIterator[tuple[str, Completion]]:
    if group.question.id == "01":
        raise ConnectionError("no replica for 'What is 01?'")
    async for found in solve_all(group):
        yield found


def test_evaluate_group_that_keeps_failing_is_unscored_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    with open_store(tmp_path / SAMPLES) as store:
        outcomes = asyncio.run(collect(make_groups(10), store, solve=fail_at_item_01))
        failed = [outcome for outcome in outcomes if isinstance(outcome, FailedSample)]
        missing = store.missing(make_groups(10))

    assert [(one.task.item, one.task.policy, one.num_attempts) for one in failed] == [
        ("01", "cap_8", 3),
        ("01", "natural", 3),
    ]
    assert failed[0].error == "ConnectionError: no replica for 'What is 01?'"
    assert len(outcomes) == 20
    assert [group.question.id for group in missing] == ["01"]


def test_evaluate_private_question_stays_out_of_rows_and_errors(tmp_path: Path) -> None:
    groups = [make_group(item, is_private=True) for item in ("00", "01")]

    with open_store(tmp_path / SAMPLES) as store:
        outcomes = asyncio.run(collect(groups, store, solve=fail_at_item_01))

    assert "What is" not in (tmp_path / SAMPLES).read_text()
    assert [one.error for one in outcomes if isinstance(one, FailedSample)] == ["ConnectionError."]
    assert [one.question for one in outcomes if isinstance(one, EvaluatedSample)] == [None]


def test_evaluate_wrong_input_is_not_tried_again(tmp_path: Path) -> None:
    async def solve(group: SampleGroup) -> AsyncIterator[tuple[str, Completion]]:
        raise ValueError("the prompt does not fit")
        yield "never", make_completion()

    with open_store(tmp_path / SAMPLES) as store:
        outcomes = asyncio.run(collect([make_group("00")], store, solve=solve))

    assert [one.num_attempts for one in outcomes if isinstance(one, FailedSample)] == [1]


@pytest.mark.parametrize(
    ("yielded", "message"),
    [((), "solve ended without cap_8, natural"), (("other",), "solve yielded 'other'")],
)
def test_evaluate_solver_that_does_not_keep_its_contract_is_told_so(
    tmp_path: Path, yielded: tuple[str, ...], message: str
) -> None:
    async def solve(group: SampleGroup) -> AsyncIterator[tuple[str, Completion]]:
        for policy in yielded:
            yield policy, make_completion()

    with open_store(tmp_path / SAMPLES) as store:
        outcomes = asyncio.run(collect(make_groups(1), store, solve=solve))

    assert len(outcomes) == 2
    assert all(isinstance(one, FailedSample) and message in one.error for one in outcomes)


def test_evaluate_gives_up_when_everything_fails_and_keeps_what_is_done(tmp_path: Path) -> None:
    async def solve(group: SampleGroup) -> AsyncIterator[tuple[str, Completion]]:
        if group.question.id != "00":
            raise ConnectionError("all replicas are gone")
        async for found in solve_all(group):
            yield found

    with (
        open_store(tmp_path / SAMPLES) as store,
        pytest.raises(RuntimeError, match=r"5 groups failed one after .* replicas are gone"),
    ):
        asyncio.run(
            collect(
                make_groups(40), store, solve=solve, max_in_flight=1, max_consecutive_failures=5
            )
        )

    assert list_done(tmp_path / SAMPLES) == [("00", "cap_8"), ("00", "natural")]


def test_evaluate_does_not_give_up_while_some_succeed(tmp_path: Path) -> None:
    async def solve(group: SampleGroup) -> AsyncIterator[tuple[str, Completion]]:
        if int(group.question.id) % 3:
            raise ConnectionError("this replica is gone")
        async for found in solve_all(group):
            yield found

    with open_store(tmp_path / SAMPLES) as store:
        outcomes = asyncio.run(
            collect(
                make_groups(30), store, solve=solve, max_in_flight=1, max_consecutive_failures=3
            )
        )

    assert sum(isinstance(one, FailedSample) for one in outcomes) == 40


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


def test_evaluate_store_that_cannot_write_ends_it(tmp_path: Path) -> None:
    class FullStore(SampleStore):
        def append(self, sample: EvaluatedSample) -> bool:
            raise OSError("No space left on device")

    store = FullStore(tmp_path / SAMPLES, sync_rows=1, sync_seconds=1.0, clock=lambda: 0.0)
    with store, pytest.raises(OSError, match="No space left"):
        asyncio.run(collect(make_groups(10), store))


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
