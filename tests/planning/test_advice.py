from dataclasses import replace

import pytest

from s1ray.config.training import ActivationCheckpointing
from s1ray.planning.advice import Advice, Adviser
from s1ray.planning.cluster import Cluster
from s1ray.planning.estimate import estimate
from s1ray.planning.recipe import Recipe
from s1ray.planning.reports import make_reported_recipe
from tests.planning.plans import load_cluster, load_planning, own_recipe, qwen_32b


def advise(cluster: Cluster, recipe: Recipe) -> tuple[Advice, ...]:
    config, model = load_planning(), qwen_32b()
    current = estimate(model, cluster, recipe, assumptions=config.assumptions)
    adviser = Adviser(
        model=model,
        assumptions=config.assumptions,
        config=config.advice,
        lora=config.lora_training.lora,
    )
    return adviser.advise(cluster, recipe, current=current)


def reestimate(advice: Advice) -> bool:
    assumptions = load_planning().assumptions
    return estimate(qwen_32b(), advice.cluster, advice.recipe, assumptions=assumptions).fits


MISFITS = {
    "own recipe on one node": (own_recipe(num_workers=8), "h100_1x8"),
    "one GPU": (own_recipe(num_workers=1, sequence_parallel=1), "h200_1x1"),
    "no checkpointing": (
        own_recipe(checkpointing=ActivationCheckpointing.NONE),
        "h100_2x8_8x400g",
    ),
    "s1's script at 32k on 8": (
        make_reported_recipe(load_planning().reports[2], config=load_planning()),
        "h100_1x8",
    ),
    "s1's script on 16 for R1's traces": (
        make_reported_recipe(load_planning().reports[3], config=load_planning()),
        "h100_2x8_8x400g",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_every_advice_for_a_misfit_fits(case: str) -> None:
    recipe, name = MISFITS[case]

    advice = advise(load_cluster(name), recipe)

    assert advice
    assert all(item.estimate.fits and reestimate(item) for item in advice)


def test_advice_that_keeps_the_result_comes_first() -> None:
    recipe, name = MISFITS["own recipe on one node"]

    advice = advise(load_cluster(name), recipe)

    flags = [item.is_same_result for item in advice]
    assert flags == sorted(flags, reverse=True)
    assert {True, False} == set(flags)


def test_a_shorter_block_is_the_longest_that_fits() -> None:
    recipe, name = MISFITS["s1's script at 32k on 8"]
    cluster = load_cluster(name)

    blocks = [
        item.recipe for item in advise(cluster, recipe) if "training.max_seq_len" in item.overrides
    ]

    step = load_planning().advice.block_step_tokens
    longer = replace(blocks[0], max_seq_len=blocks[0].max_seq_len + step)
    assumptions = load_planning().assumptions
    assert estimate(qwen_32b(), cluster, blocks[0], assumptions=assumptions).fits
    assert not estimate(qwen_32b(), cluster, longer, assumptions=assumptions).fits


def test_one_gpu_is_told_of_adapters() -> None:
    recipe, name = MISFITS["one GPU"]

    overrides = [set(item.overrides) for item in advise(load_cluster(name), recipe)]

    assert any("training.lora" in keys for keys in overrides)


def test_s1s_script_is_told_to_balance_its_samples() -> None:
    recipe = make_reported_recipe(load_planning().reports[0], config=load_planning())

    best = advise(load_cluster("h100_2x8_8x400g"), recipe)[0]

    assert best.is_same_result
    assert best.overrides["sharding.sequence_parallel"] == "8"
    assert best.estimate.balance_efficiency > 0.97


def test_every_advice_for_a_plan_that_fits_saves_time() -> None:
    cluster, recipe = load_cluster("h100_2x8_1x400g"), own_recipe(is_compiled=False)
    config = load_planning()
    current = estimate(qwen_32b(), cluster, recipe, assumptions=config.assumptions)

    advice = advise(cluster, recipe)

    limit = current.training_seconds / config.advice.worthwhile_speedup
    assert advice
    assert all(item.estimate.training_seconds <= limit for item in advice)
    assert all(item.estimate.fits and not item.estimate.is_tight for item in advice)


@pytest.mark.parametrize("gbit", [7, 47, 100, 400, 3200])
def test_copies_a_node_are_advised_exactly_where_they_are_faster(gbit: float) -> None:
    # Small enough that one node holds a copy, so that memory does not decide.
    cluster = replace(load_cluster("h100_2x8_8x400g"), node_rate=gbit * 1e9 / 8)
    recipe = own_recipe(moment_bytes=2)
    config = load_planning()
    seconds = {
        copies: estimate(
            qwen_32b(), cluster, replace(recipe, replicas=copies), assumptions=config.assumptions
        ).training_seconds
        for copies in (1, 2)
    }

    advised = [item.recipe.replicas for item in advise(cluster, recipe)]

    is_worthwhile = seconds[1] / seconds[2] >= config.advice.worthwhile_speedup
    assert (2 in advised) == is_worthwhile


def test_idle_gpus_are_advised() -> None:
    recipe = own_recipe(num_workers=4, sequence_parallel=4)

    overrides = [item.overrides for item in advise(load_cluster("h100_2x8_8x400g"), recipe)]

    assert any(keys.get("sharding.num_workers") == "16" for keys in overrides)


def test_a_cluster_that_is_too_small_is_told_how_many_nodes_would_do() -> None:
    recipe = own_recipe(
        checkpointing=ActivationCheckpointing.FULL, lengths=(30000,) * 16,
        micro_batch_tokens=None, sequence_parallel=1, loss_chunk_tokens=None,
    )  # fmt: skip
    crowded = replace(load_cluster("h100_2x8_8x400g"), memory_bytes=30 * 2**30)

    overrides = [item.overrides for item in advise(crowded, recipe) if item.is_same_result]

    assert any("cluster.num_nodes" in keys or "sharding.cpu_offload" in keys for keys in overrides)
