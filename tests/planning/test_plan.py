from dataclasses import replace

import pytest

from s1ray.config.training import ActivationCheckpointing
from s1ray.planning.estimate import estimate
from s1ray.planning.plan import list_rows, make_plan, refuse_misfit
from s1ray.planning.recipe import Recipe
from tests.planning.plans import load_cluster, load_planning, own_recipe, qwen_32b


def test_cost_is_hours_times_devices_times_price() -> None:
    cluster = load_cluster("h100_2x8_8x400g")

    result = estimate(qwen_32b(), cluster, own_recipe(), assumptions=load_planning().assumptions)

    assert result.device_hours == pytest.approx(16 * result.hours)
    assert result.dollars == pytest.approx(result.device_hours * 6.88)
    assert result.hours * 3600 == pytest.approx(result.training_seconds + result.setup_seconds)
    assert result.mfu == pytest.approx(
        result.workload.flops / (result.training_seconds * 16 * 989e12)
    )


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (own_recipe(num_workers=12), r"sequence_parallel=8 does not divide .*num_workers=12"),
        (
            own_recipe(replicas=3),
            r"replicas=3 does not divide .*num_workers=16.*\[1, 2, 4, 8, 16\]",
        ),
        (own_recipe(sequence_parallel=16), r"=16 .*40 query and 8 key-value heads.* 8, "),
        (own_recipe(num_workers=32), r"num_workers=32, but cluster=h100_2x8_8x400g has 16 GPUs"),
    ],
)
def test_degrees_that_do_not_divide_are_refused(recipe: Recipe, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate(
            qwen_32b(),
            load_cluster("h100_2x8_8x400g"),
            recipe,
            assumptions=load_planning().assumptions,
        )


def test_a_plan_that_fits_is_not_refused() -> None:
    plan = make_plan(
        qwen_32b(), load_cluster("h100_2x8_8x400g"), own_recipe(), config=load_planning()
    )

    refuse_misfit(plan)

    assert plan.fits


def test_a_plan_that_does_not_fit_is_refused_with_the_change_that_helps() -> None:
    recipe = own_recipe(num_workers=8, checkpointing=ActivationCheckpointing.NONE)
    plan = make_plan(qwen_32b(), load_cluster("h100_1x8"), recipe, config=load_planning())

    with pytest.raises(
        ValueError, match=r"needs \d+\.\d GiB of 79\.1 GiB a device on cluster=h100_1x8.*Try shard"
    ):
        refuse_misfit(plan)


def test_a_host_that_is_too_small_is_named() -> None:
    small = replace(load_cluster("h100_1x8"), host_memory_bytes=64 * 2**30)
    recipe = own_recipe(num_workers=8, is_offloaded=True)
    plan = make_plan(qwen_32b(), small, recipe, config=load_planning())

    with pytest.raises(ValueError, match=r"needs \d+ GiB of 64 GiB main memory a node"):
        refuse_misfit(plan)


def test_a_plan_without_help_says_so() -> None:
    recipe = own_recipe(
        lengths=(30000,) * 16, num_workers=1, sequence_parallel=1, micro_batch_tokens=None
    )
    tiny = replace(load_cluster("h200_1x1"), memory_bytes=2**30)
    plan = make_plan(qwen_32b(), tiny, recipe, config=load_planning())

    assert plan.advice == ()
    assert list_rows(plan)[-1].name == "nothing that was tried"
    with pytest.raises(ValueError, match=r"No single change or combination that was tried"):
        refuse_misfit(plan)


def test_rows_tell_memory_time_cost_verdict_and_advice() -> None:
    recipe = own_recipe(num_workers=8)
    plan = make_plan(qwen_32b(), load_cluster("h100_1x8"), recipe, config=load_planning())

    rows = list_rows(plan)

    sections = list(dict.fromkeys(row.section for row in rows))
    assert sections == ["memory a device", "time a step", "run", "verdict", "what would fit"]
    names = {row.name: row.value for row in rows}
    assert names["highest"].endswith("of 79.1 GiB")
    assert names["a projection, not a measurement"] == "does not fit"
    assert names["device-hours"] == f"{plan.estimate.device_hours:.2f}"
    assert names["bottleneck"] == "arithmetic"
    assert all(row.name for row in rows)


def test_offloaded_states_stand_in_the_rows() -> None:
    recipe = own_recipe(is_offloaded=True)
    plan = make_plan(qwen_32b(), load_cluster("h100_2x8_8x400g"), recipe, config=load_planning())

    names = {row.name: row.value for row in list_rows(plan)}

    assert names["main memory of a node"] == "244 GiB of 2048 GiB"
