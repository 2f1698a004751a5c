"""Order, plans and balance of steps: pure functions, against brute force and s1's numbers."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1ray.training.samples.batching import (
    BatchPlan,
    count_run_steps,
    count_steps,
    measure_balance,
    order_epoch,
    partition,
    plan_steps,
)


def make_plan(**changes: object) -> BatchPlan:
    values: dict[str, object] = {
        "seed": 0,
        "num_epochs": 1,
        "max_steps": None,
        "max_tokens": None,
        "global_batch_size": 16,
        "micro_batch_tokens": None,
        "num_groups": 1,
    }
    return BatchPlan(**(values | changes))  # type: ignore[arg-type]


def draw_s1k_like_lengths(num_samples: int) -> list[int]:
    """Lognormal with 74 % above 4,096 tokens and 9,109 the longest, as s1K is described."""
    rng = random.Random(0)
    return [min(9109, max(700, int(rng.lognormvariate(8.52, 0.33)))) for _ in range(num_samples)]


def test_s1_has_63_steps_an_epoch_and_315_in_all() -> None:
    # arXiv 2501.19393 section 4.1: 1,000 samples, batch 16, 5 epochs, 315 steps.
    assert count_steps(1000, global_batch_size=16, num_epochs=5) == 315


def test_order_is_a_permutation_that_depends_on_seed_and_epoch() -> None:
    order = order_epoch(50, seed=0, epoch=0)

    assert sorted(order) == list(range(50))
    assert order == order_epoch(50, seed=0, epoch=0)
    assert len({order, order_epoch(50, seed=1, epoch=0), order_epoch(50, seed=0, epoch=1)}) == 3


def test_order_never_changes() -> None:
    # Frozen: a run resumed on another version must see the same samples. These are the ranks of
    # sha256("7/3/<index>").
    assert order_epoch(8, seed=7, epoch=3) == (6, 7, 2, 5, 4, 3, 0, 1)


def test_order_of_an_epoch_is_drawn_once_for_all_its_steps() -> None:
    assert order_epoch(9, seed=1, epoch=0) is order_epoch(9, seed=1, epoch=0)


def test_run_of_so_many_steps_ends_inside_an_epoch_or_goes_on_into_the_next() -> None:
    for max_steps in (3, 8):
        plan = make_plan(num_epochs=None, max_steps=max_steps)
        whole = list(plan_steps([5] * 64, plan=make_plan(num_epochs=3), samples_consumed=0))

        steps = list(plan_steps([5] * 64, plan=plan, samples_consumed=0))

        assert steps == whole[:max_steps]
        assert list(plan_steps([5] * 64, plan=plan, samples_consumed=32)) == steps[2:]


def test_run_of_so_many_tokens_ends_with_the_step_that_reaches_them() -> None:
    lengths = draw_s1k_like_lengths(50)
    plan = make_plan(num_epochs=None, max_tokens=2 * sum(lengths) + 1)

    steps = list(plan_steps(lengths, plan=plan, samples_consumed=0))

    seen = [sum(lengths[i] for i in step.samples) for step in steps]
    assert sum(seen) >= 2 * sum(lengths) + 1 > sum(seen[:-1])
    assert len(steps) == count_run_steps(lengths, plan=plan) == 2 * 4 + 1


def test_every_sample_is_seen_once_an_epoch_and_the_last_step_is_partial() -> None:
    steps = list(plan_steps([5] * 1000, plan=make_plan(num_epochs=2), samples_consumed=0))

    assert [len(step.samples) for step in steps[:63]] == [16] * 62 + [8]
    seen = [index for step in steps[:63] for index in step.samples]
    assert sorted(seen) == list(range(1000))
    assert [step.step for step in steps] == list(range(1, 127))
    assert steps[62].epoch == 1.0
    assert steps[-1].samples_consumed == 2000


@pytest.mark.parametrize("position", [0, 4, 8, 10, 14, 20])
def test_plan_from_any_boundary_is_the_tail_of_the_whole_plan(position: int) -> None:
    lengths = [3, 9, 4, 7, 2, 8, 5, 6, 1, 9]
    plan = make_plan(num_epochs=2, global_batch_size=4, num_groups=2, micro_batch_tokens=12)

    whole = list(plan_steps(lengths, plan=plan, samples_consumed=0))

    tail = list(plan_steps(lengths, plan=plan, samples_consumed=position))
    assert tail == [step for step in whole if step.samples_consumed > position]


def test_position_inside_a_step_is_refused() -> None:
    plan = make_plan(global_batch_size=4)

    with pytest.raises(ValueError, match=r"samples_consumed=6 is not the end of a step of 4"):
        next(plan_steps([1] * 10, plan=plan, samples_consumed=6))


def test_sample_beyond_the_row_is_refused() -> None:
    plan = make_plan(micro_batch_tokens=8)

    with pytest.raises(ValueError, match=r"9 tokens and does not fit .*micro_batch_tokens=8"):
        next(plan_steps([9, 1], plan=plan, samples_consumed=0))


@settings(max_examples=200)
@given(
    lengths=st.lists(st.integers(1, 100), min_size=1, max_size=24),
    num_groups=st.integers(1, 5),
    limit=st.one_of(st.none(), st.integers(100, 400)),
)
def test_each_step_is_dealt_whole_into_as_many_passes_a_group(
    lengths: list[int], num_groups: int, limit: int | None
) -> None:
    plan = make_plan(global_batch_size=7, num_groups=num_groups, micro_batch_tokens=limit)

    for step in plan_steps(lengths, plan=plan, samples_consumed=0):
        passes = list(itertools.chain.from_iterable(step.groups))
        assert sorted(itertools.chain.from_iterable(passes)) == sorted(step.samples)
        assert len(step.groups) == num_groups
        assert len({len(group) for group in step.groups}) == 1
        if limit is None:
            assert max(map(len, passes)) == 1
        else:
            assert max(sum(lengths[i] for i in row) for row in passes) <= limit


@settings(max_examples=100)
@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_partition_in_two_is_near_the_best_there_is(lengths: list[int]) -> None:
    bins = partition(lengths, num_bins=2)

    assert sorted(itertools.chain.from_iterable(bins)) == list(range(len(lengths)))
    heaviest = max(sum(lengths[i] for i in members) for members in bins)
    best = min(
        max(sum(chosen), sum(lengths) - sum(chosen))
        for size in range(len(lengths) + 1)
        for chosen in itertools.combinations(lengths, size)
    )
    # Largest differencing is within 7/6 of the best in two bins (Fischetti and Martello 1987).
    assert heaviest * 6 <= best * 7


def test_balance_is_mean_over_maximum() -> None:
    assert measure_balance([30, 10]) == pytest.approx(20 / 30)


def test_s1s_step_on_16_gpus_balances_in_two_groups_of_eight() -> None:
    lengths = draw_s1k_like_lengths(1000)
    ours = make_plan(num_groups=2, micro_batch_tokens=65536)
    naive = make_plan(num_groups=16)

    balance = [
        [step.balance_efficiency for step in plan_steps(lengths, plan=plan, samples_consumed=0)]
        for plan in (ours, naive)
    ]

    # Full steps alone: in the partial one eight of sixteen GPUs would have nothing to do.
    assert sum(balance[0][:62]) / 62 > 0.99
    assert sum(balance[1][:62]) / 62 < 0.75
