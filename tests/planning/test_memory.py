from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1ray.config.training import ActivationCheckpointing
from s1ray.planning.cluster import GIB, share_devices
from s1ray.planning.memory import Memory, Moment, estimate_memory
from s1ray.planning.recipe import Adapters, Recipe, lay_out_steps
from tests.planning.plans import load_cluster, load_planning, own_recipe, qwen_32b


def measure(recipe: Recipe, *, cluster: str = "h100_2x8_8x400g") -> Memory:
    return estimate_memory(
        qwen_32b(),
        recipe,
        steps=lay_out_steps(recipe),
        cluster=share_devices(load_cluster(cluster), num_workers=recipe.num_workers),
        assumptions=load_planning().assumptions,
    )


def size(memory: Memory, name: str) -> dict[str, float]:
    part = next(part for part in memory.parts if part.name == name)
    return {"loss": part.loss, "backward": part.backward, "optimizer": part.optimizer}


def one_sample(num_tokens: int, **changes: Any) -> Recipe:
    """One sample of so many tokens on each of 16 GPUs."""
    return own_recipe(
        lengths=(num_tokens,) * 16, num_epochs=1, sequence_parallel=1, micro_batch_tokens=None,
        **changes,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "gigabytes"),
    [
        # Reference: float32 weights, gradients and moments of 32 B over 16 and over 8 GPUs, and
        # over 8 with bf16 moments.
        ({}, 32.8),
        ({"replicas": 2}, 65.5),
        ({"replicas": 2, "moment_bytes": 2}, 49.1),
    ],
)
def test_states_take_the_published_bytes(changes: dict[str, int], gigabytes: float) -> None:
    memory = measure(own_recipe(**changes))

    states = sum(size(memory, name)["optimizer"] for name in ("weights", "gradients", "moments"))
    assert states / 1e9 == pytest.approx(gigabytes, rel=0.002)


def test_whole_logits_take_the_published_bytes_a_copy() -> None:
    memory = measure(one_sample(32768, loss_chunk_tokens=None))

    copies = load_planning().assumptions.whole_logit_copies
    # Reference: 19.9e9 bytes a float32 copy at 32k tokens and 152k vocabulary.
    assert size(memory, "logits")["loss"] / copies == pytest.approx(19.9e9, rel=0.002)


def test_logits_in_chunks_do_not_grow_with_the_row() -> None:
    short, long = measure(one_sample(4096)), measure(one_sample(32768))

    assert size(short, "logits") == size(long, "logits")


def test_full_checkpointing_keeps_the_published_bytes() -> None:
    memory = measure(one_sample(5200))

    # Reference: 655 KB a token; the embedding's output and the last norm come on top.
    assert size(memory, "activations")["loss"] / 5200 == pytest.approx(655e3, rel=0.1)


def test_sequence_parallelism_divides_the_row() -> None:
    whole = measure(one_sample(8000))
    split = measure(own_recipe(lengths=(8000,) * 16, sequence_parallel=8, micro_batch_tokens=None))

    assert split.row_tokens * 8 == whole.row_tokens == 8000
    assert size(split, "activations")["loss"] * 8 == size(whole, "activations")["loss"]


def test_activations_and_gradients_share_the_backward_pass_of_a_single_row() -> None:
    memory = measure(one_sample(5200))

    backward = [size(memory, name)["backward"] for name in ("activations", "gradients")]
    assert min(backward) == 0 < max(backward)
    assert size(memory, "gradients")["loss"] == 0


def test_gradients_of_earlier_rows_stay_beside_activations() -> None:
    memory = measure(own_recipe(num_workers=8, micro_batch_tokens=16384))

    assert size(memory, "gradients")["loss"] > 0
    assert size(memory, "activations")["backward"] > 0


def test_an_unfused_optimizer_is_highest_in_its_own_step() -> None:
    fused = measure(one_sample(512, replicas=2))
    unfused = measure(one_sample(512, replicas=2, is_optimizer_fused=False))

    assert unfused.moment is Moment.OPTIMIZER
    assert unfused.peak - unfused.totals[Moment.OPTIMIZER] == 0
    assert unfused.totals[Moment.OPTIMIZER] - fused.totals[Moment.OPTIMIZER] == pytest.approx(
        4 * qwen_32b().num_parameters / 8
    )


def test_kept_weights_are_gathered_whole() -> None:
    memory = measure(own_recipe(gathers_per_pass=1))

    assert size(memory, "gathered weights")["loss"] == 2 * qwen_32b().num_parameters


def test_offloaded_states_move_to_main_memory() -> None:
    memory = measure(own_recipe(is_offloaded=True))

    assert "weights" not in [part.name for part in memory.parts]
    assert memory.host_bytes == pytest.approx(16 * qwen_32b().num_parameters / 2)
    assert memory.host_bytes < memory.host_capacity


def test_a_host_too_small_for_offloaded_states_does_not_fit() -> None:
    recipe = own_recipe(num_workers=2, sequence_parallel=1, is_offloaded=True, global_batch_size=2)
    memory = measure(recipe, cluster="h100_1x8")

    small = Memory(
        parts=(), capacity=memory.capacity, host_bytes=memory.host_bytes,
        host_capacity=256 * GIB, row_tokens=1,
    )  # fmt: skip
    assert not small.fits


def test_adapters_freeze_the_weights_in_their_own_dtype() -> None:
    adapters = Adapters(rank=32, targets=("q_proj", "v_proj"), base_bytes=2)
    memory = measure(own_recipe(adapters=adapters))

    assert size(memory, "weights")["loss"] == pytest.approx(
        2 * qwen_32b().num_parameters / 16, rel=0.01
    )
    assert size(memory, "moments")["loss"] < 0.01 * size(memory, "weights")["loss"]


def test_a_single_process_keeps_a_cast_of_every_weight() -> None:
    recipe = own_recipe(num_workers=1, sequence_parallel=1)
    memory = measure(recipe, cluster="h200_1x1")

    assert size(memory, "gathered weights")["loss"] == pytest.approx(
        2 * qwen_32b().num_parameters, rel=1e-3
    )


@settings(max_examples=40)
@given(
    mode=st.sampled_from(list(ActivationCheckpointing)),
    tokens=st.integers(16, 30000),
    chunk=st.sampled_from([None, 256]),
)
def test_more_shards_and_more_ranks_a_row_never_take_more(
    mode: ActivationCheckpointing, tokens: int, chunk: int | None
) -> None:
    base = {"checkpointing": mode, "loss_chunk_tokens": chunk, "lengths": (tokens,) * 2,
            "num_epochs": 1, "micro_batch_tokens": None}  # fmt: skip

    peaks = [
        measure(own_recipe(**base, replicas=replicas, sequence_parallel=degree)).peak
        for replicas, degree in ((2, 1), (1, 1), (1, 2), (1, 8))
    ]

    assert peaks == sorted(peaks, reverse=True)
