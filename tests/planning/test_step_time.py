from dataclasses import replace
from typing import Any

import pytest

from s1ray.config.training import ActivationCheckpointing
from s1ray.planning.cluster import Cluster, share_devices
from s1ray.planning.estimate import Estimate, estimate
from s1ray.planning.model import read_shape
from s1ray.planning.recipe import Recipe, lay_out_steps
from s1ray.planning.step_time import measure_workload, time_step
from tests.planning.plans import load_cluster, load_planning, own_recipe, qwen_32b


def plan(recipe: Recipe, *, cluster: str | Cluster = "h100_2x8_8x400g") -> Estimate:
    held = load_cluster(cluster) if isinstance(cluster, str) else cluster
    return estimate(qwen_32b(), held, recipe, assumptions=load_planning().assumptions)


def naive(**changes: Any) -> Recipe:
    """s1's layout: one sample a GPU, in the order of the epoch."""
    return own_recipe(sequence_parallel=1, micro_batch_tokens=None, is_balanced=False, **changes)


def test_balance_of_one_sample_a_gpu_is_the_published_loss() -> None:
    # Reference: 0.59 (0.50 to 0.64) for s1's lengths.
    assert 0.57 < plan(naive()).balance_efficiency < 0.64


@pytest.mark.parametrize(("degree", "least"), [(2, 0.85), (4, 0.96), (8, 0.99)])
def test_balance_grows_with_sequence_parallelism(degree: int, least: float) -> None:
    recipe = own_recipe(sequence_parallel=degree)

    # Reference: 0.90, 0.97 and 0.99 at degrees 2, 4 and 8.
    assert plan(recipe).balance_efficiency >= least


def test_own_recipe_reaches_the_projected_utilisation() -> None:
    result = plan(own_recipe())

    # Reference: a projection of 43 to 45 % with full checkpointing, 12.5 minutes.
    assert 0.42 < result.mfu < 0.48
    assert result.training_seconds / 60 == pytest.approx(12.5, rel=0.1)


def test_workload_equals_a_loop_over_the_samples() -> None:
    model, recipe = qwen_32b(), naive(num_epochs=1)
    steps = lay_out_steps(recipe)

    workload = measure_workload(model, recipe, steps=steps)

    flops = [
        [model.count_flops(num_adapters=None).of_document(n) for row in passes[0] for n in row]
        for passes in steps
    ]
    assert workload.flops == pytest.approx(sum(map(sum, flops)))
    assert workload.slowest_flops == pytest.approx(sum(map(max, flops)))
    assert workload.num_tokens == sum(recipe.lengths)
    assert workload.num_passes == workload.num_steps == 63


def test_parts_of_a_step_add_up_to_its_time() -> None:
    result = plan(own_recipe(checkpointing=ActivationCheckpointing.SELECTIVE, overlap=0.5))

    assert sum(result.step.parts.values()) == pytest.approx(result.step.total)
    assert list(result.step.parts.values()) == sorted(result.step.parts.values(), reverse=True)


def test_exposed_communication_is_what_compute_cannot_hide() -> None:
    model, recipe = qwen_32b(), own_recipe(overlap=1.0)
    cluster = share_devices(load_cluster("h100_2x8_1x400g"), num_workers=16)
    workload = measure_workload(model, recipe, steps=lay_out_steps(recipe))

    hidden = time_step(model, recipe, workload=workload, cluster=cluster)
    bare = time_step(model, replace(recipe, overlap=0.0), workload=workload, cluster=cluster)

    compute = hidden.arithmetic + hidden.imbalance + hidden.recompute
    assert hidden.between_nodes == pytest.approx(bare.between_nodes - compute)


def test_every_pass_gathers_and_scatters_again() -> None:
    once = plan(own_recipe(overlap=0.0))
    often = plan(own_recipe(overlap=0.0, micro_batch_tokens=None))

    assert once.workload.mean_passes == 1
    # Eight samples a group, four in the last step of each of five epochs.
    assert often.workload.mean_passes == pytest.approx((62 * 8 + 4) / 63)
    assert often.step.between_nodes == pytest.approx(
        once.step.between_nodes * often.workload.mean_passes
    )


def test_offload_pays_for_the_link_to_main_memory() -> None:
    recipe = own_recipe(is_offloaded=True)

    result = plan(recipe)

    # Two gathers of float32 shards and one gradient, 50e9 bytes a second.
    shard = 4 * qwen_32b().num_parameters / 16
    assert result.step.offload == pytest.approx(3 * shard / 50e9)
    assert result.step.optimizer > plan(own_recipe()).step.optimizer


def test_smollm2_on_two_cores_takes_the_measured_time() -> None:
    smollm2 = {
        "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "vocab_size": 49152, "tie_word_embeddings": True,
    }  # fmt: skip
    recipe = own_recipe(
        lengths=(95,) * 64, num_epochs=1, global_batch_size=8, num_workers=1,
        sequence_parallel=1, micro_batch_tokens=8 * 95, is_compiled=False,
        checkpointing=ActivationCheckpointing.NONE,
    )  # fmt: skip

    result = estimate(
        read_shape(smollm2),
        load_cluster("laptop"),
        recipe,
        assumptions=load_planning().assumptions,
    )

    # Measured on two quiet cores: 130 to 190 tokens a second at batch 8 of 95 tokens.
    assert 130 < result.tokens_per_second < 190


def test_on_the_cpu_dispatch_comes_on_top_of_arithmetic() -> None:
    laptop = load_cluster("laptop")
    recipe = own_recipe(num_workers=1, sequence_parallel=1, micro_batch_tokens=65536)

    free = plan(recipe, cluster=replace(laptop, dispatch_seconds=0.0))
    slow = plan(recipe, cluster=replace(laptop, dispatch_seconds=1.0))

    # 64 layers a pass.
    added = slow.step.total - free.step.total
    assert added == pytest.approx(64.0 * slow.workload.mean_passes)


def test_tiny_layers_wait_for_their_dispatch() -> None:
    slow = replace(load_cluster("h100_2x8_8x400g"), dispatch_seconds=1.0)

    result = plan(own_recipe(), cluster=slow)

    compute = result.step.arithmetic + result.step.imbalance + result.step.recompute
    assert compute == pytest.approx(64.0)
