"""Solvers and stores that fail: what is asked again, what stays unscored, when all is given up."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from s1ray.evaluation.samples import EvaluatedSample, FailedSample, SampleGroup
from s1ray.evaluation.store import SAMPLES, SampleStore
from s1ray.records import Completion
from tests.evaluation.builders import make_completion, make_group, open_store
from tests.evaluation.scripted_evaluations import collect, list_done, make_groups, solve_all


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


def test_evaluate_store_that_cannot_write_ends_it(tmp_path: Path) -> None:
    class FullStore(SampleStore):
        def append(self, sample: EvaluatedSample) -> bool:
            raise OSError("No space left on device")

    store = FullStore(tmp_path / SAMPLES, sync_rows=1, sync_seconds=1.0, clock=lambda: 0.0)
    with store, pytest.raises(OSError, match="No space left"):
        asyncio.run(collect(make_groups(10), store))
