import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1ray.config.training import ActivationCheckpointing
from s1ray.planning.recipe import draw_lengths, lay_out_steps, read_recipe
from s1ray.training.samples.batching import BatchPlan, plan_steps
from tests.planning.plans import load_planning, own_recipe
from tests.training.plain_loop import make_optimizer, make_sharding, make_training

TRAINING = make_training(
    num_epochs=2,
    max_seq_len=100,
    compute_dtype="bfloat16",
    optimizer=make_optimizer(moments_dtype="bfloat16"),
    lora={"rank": 8, "alpha": 16, "targets": ["q_proj"], "base_dtype": "bfloat16"},
)
SHARDING = make_sharding(
    num_workers=4,
    device="cuda",
    sequence_parallel=2,
    replicas=2,
    reshard_after_forward=False,
    activation_checkpointing="selective",
    attention="varlen",
    micro_batch_tokens=512,
    loss_chunk_tokens=64,
    compile=True,
)


def test_s1k_lengths_have_the_published_statistics() -> None:
    lengths = draw_lengths(load_planning().report_lengths["s1k"])

    # s1: 74 % over 4,096 tokens; 4.7 million tokens of thinking alone; the longest has 9,109.
    assert sum(length > 4096 for length in lengths) / len(lengths) == pytest.approx(0.74)
    assert 4700 < statistics.fmean(lengths) < 5500
    assert max(lengths) == 9109


def test_r1_lengths_have_the_published_statistics() -> None:
    lengths = draw_lengths(load_planning().report_lengths["r1"])

    assert statistics.fmean(lengths) == pytest.approx(9000, rel=0.01)
    assert max(lengths) == 26000


def test_a_configuration_becomes_a_recipe() -> None:
    recipe = read_recipe(
        TRAINING, SHARDING, lengths=[50, 150], assumptions=load_planning().assumptions
    )

    assert recipe.cut_lengths == (50, 100)
    assert recipe.checkpointing is ActivationCheckpointing.SELECTIVE
    assert (recipe.num_groups, recipe.num_shards, recipe.gathers_per_pass) == (2, 2, 1)
    assert (recipe.compute_bytes, recipe.reduce_bytes, recipe.moment_bytes) == (2, 4, 2)
    assert recipe.adapters is not None
    assert recipe.adapters.base_bytes == 2


def test_dropped_samples_are_not_planned() -> None:
    training = TRAINING.model_copy(update={"overflow": "drop"})

    recipe = read_recipe(
        training, SHARDING, lengths=[50, 150], assumptions=load_planning().assumptions
    )

    assert recipe.lengths == (50,)


def test_a_recipe_without_samples_is_refused() -> None:
    training = TRAINING.model_copy(update={"overflow": "drop"})

    with pytest.raises(ValueError, match=r"none of 2 samples is left at training.max_seq_len=100"):
        read_recipe(training, SHARDING, lengths=[150, 200], assumptions=load_planning().assumptions)


def test_a_single_worker_offloads_nothing() -> None:
    sharding = SHARDING.model_copy(
        update={"num_workers": 1, "replicas": 1, "sequence_parallel": 1, "cpu_offload": True}
    )

    recipe = read_recipe(TRAINING, sharding, lengths=[50], assumptions=load_planning().assumptions)

    assert not recipe.is_offloaded


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 400), min_size=1, max_size=40),
    groups=st.sampled_from([1, 2, 4]),
    limit=st.sampled_from([None, 400, 900]),
    batch=st.integers(1, 9),
)
def test_layout_computes_every_sample_once_an_epoch(
    lengths: list[int], groups: int, limit: int | None, batch: int
) -> None:
    recipe = own_recipe(
        lengths=tuple(lengths),
        num_epochs=2,
        global_batch_size=batch,
        num_workers=groups,
        sequence_parallel=1,
        micro_batch_tokens=limit,
    )

    steps = lay_out_steps(recipe)

    rows = [row for passes in steps for rows in passes for row in rows]
    assert len(steps) == 2 * -(-len(lengths) // batch)
    assert sorted(n for row in rows for n in row) == sorted(2 * lengths)
    assert all(len(rows) == groups for passes in steps for rows in passes)
    assert all(len(row) <= 1 if limit is None else sum(row) <= limit for row in rows)


def test_unbalanced_samples_stay_in_the_order_they_come() -> None:
    recipe = own_recipe(
        lengths=tuple(range(1, 9)), global_batch_size=8, num_workers=4, sequence_parallel=1,
        is_balanced=False,
    )  # fmt: skip

    first = lay_out_steps(recipe)[0]

    flat = [row[0] for rows in first for row in rows]
    assert len(first) == 2
    assert sorted(flat) == list(range(1, 9))
    assert flat != sorted(flat)


@pytest.mark.parametrize("limit", [None, 16384, 65536])
def test_layout_is_as_balanced_as_the_training_loop(limit: int | None) -> None:
    recipe = own_recipe(micro_batch_tokens=limit, num_epochs=1)
    plan = BatchPlan(
        seed=42,
        num_epochs=1,
        max_steps=None,
        max_tokens=None,
        global_batch_size=16,
        micro_batch_tokens=limit,
        num_groups=2,
    )

    planned = lay_out_steps(recipe)

    trained = list(plan_steps(recipe.lengths, plan=plan, samples_consumed=0))
    by_pass = sum(max(map(sum, rows)) for passes in planned for rows in passes)
    by_loop = sum(
        max(sum(recipe.lengths[i] for i in group[index]) for group in step.groups)
        for step in trained
        for index in range(len(step.groups[0]))
    )
    assert by_pass == pytest.approx(by_loop, rel=0.02)
