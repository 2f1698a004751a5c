"""The loss identity: packing, accumulation, sharding and sequence parallelism change nothing.

The oracle is the plain loop: one sample at a time through transformers, whole logits, one process.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s1ray.training.loop import start_state
from s1ray.training.network.attention import describe_documents
from s1ray.training.network.sharding import join_ranks
from tests.training.plain_loop import (
    VOCABULARY,
    compute_plain_gradient,
    draw_examples,
    make_sharding,
    make_training,
    measure_house_gradient,
    save_tiny_model,
)
from tests.training.ranks import RankPool, measure_gradients, open_rank_pool, run_on_ranks

TOLERANCE = 1e-5
MODELS = {"tied": True, "untied": False}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    for name, is_tied in MODELS.items():
        save_tiny_model(directory / name, is_tied=is_tied)
    return directory


def assert_equal_to_plain(case: dict[str, Any], measured: Any, models: Path) -> None:
    loss, expected = compute_plain_gradient(
        models / case["model"], draw_examples(**case["examples"]), weighting=case["weighting"]
    )
    metrics, gradients = measured
    assert metrics.loss_nats == pytest.approx(loss, abs=TOLERANCE)
    for name, gradient in expected.items():
        # Of the largest element where that is above 1: sums in another order differ by its digits.
        atol = TOLERANCE * max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(
            gradients[name], gradient, atol=atol, rtol=0, msg=lambda m, c=case: f"{c}: {m}"
        )


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    num_samples=st.integers(1, 9),
    model=st.sampled_from(sorted(MODELS)),
    weighting=st.sampled_from(["sample", "token"]),
    limit=st.sampled_from([None, 60, 150]),
    checkpointing=st.sampled_from(["none", "selective", "full"]),
)
def test_packed_and_accumulated_gradient_is_that_of_the_plain_loop(
    models: Path,
    seed: int,
    num_samples: int,
    model: str,
    weighting: str,
    limit: int | None,
    checkpointing: str,
) -> None:
    case = {
        "model": model,
        "examples": {"seed": seed, "num_samples": num_samples, "longest": 60},
        "weighting": weighting,
    }

    measured = measure_house_gradient(
        models / model,
        draw_examples(**case["examples"]),
        weighting=weighting,
        micro_batch_tokens=limit,
        activation_checkpointing=checkpointing,
    )

    assert_equal_to_plain(case, measured, models)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RankPool]:
    with open_rank_pool(2, tmp_path_factory.mktemp("ranks")) as pool:
        yield pool


@settings(max_examples=16, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    num_samples=st.integers(1, 9),
    model=st.sampled_from(sorted(MODELS)),
    weighting=st.sampled_from(["sample", "token"]),
    limit=st.sampled_from([None, 60, 150]),
    sequence_parallel=st.sampled_from([1, 2]),
)
def test_gradient_of_two_ranks_is_that_of_the_plain_loop_for_any_lengths(
    models: Path,
    two_ranks: RankPool,
    seed: int,
    num_samples: int,
    model: str,
    weighting: str,
    limit: int | None,
    sequence_parallel: int,
) -> None:
    case = {
        "model": model,
        "examples": {"seed": seed, "num_samples": num_samples, "longest": 60},
        "weighting": weighting,
        "sharding": {
            "num_workers": 2,
            "sequence_parallel": sequence_parallel,
            "micro_batch_tokens": limit,
        },
    }

    for measured in two_ranks.measure(models, case):
        assert_equal_to_plain(case, measured, models)


def make_cases(shardings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "model": model,
            "examples": {
                "seed": 10 * index + num_samples,
                "num_samples": num_samples,
                "longest": 60,
            },
            "weighting": weighting,
            "sharding": sharding,
        }
        for index, sharding in enumerate(shardings)
        for model in MODELS
        for weighting in ("sample", "token")
        for num_samples in (1, 7)
    ]


def assert_ranks_equal_plain(cases: list[dict[str, Any]], models: Path, directory: Path) -> None:
    world_size = cases[0]["sharding"]["num_workers"]
    for measured in run_on_ranks(world_size, directory, measure_gradients, models, cases):
        for case, result in zip(cases, measured, strict=True):
            assert_equal_to_plain(case, result, models)


def test_gradient_sharded_or_shared_by_two_processes_is_that_of_the_plain_loop(
    models: Path, tmp_path: Path
) -> None:
    shared = {"num_workers": 2, "sequence_parallel": 2}
    cases = make_cases(
        [
            {"num_workers": 2},
            {"num_workers": 2, "micro_batch_tokens": None},
            shared,
            {**shared, "micro_batch_tokens": None},
        ]
    )
    one_sample_for_two_ranks = cases[4]

    assert_ranks_equal_plain([*cases[1::8], one_sample_for_two_ranks], models, tmp_path)


@pytest.mark.slow
def test_gradient_of_every_way_to_shard_over_two_processes_is_that_of_the_plain_loop(
    models: Path, tmp_path: Path
) -> None:
    shardings: list[dict[str, Any]] = [
        {},
        {"micro_batch_tokens": None},
        {"replicas": 2},
        {"activation_checkpointing": "full", "reshard_after_forward": False},
        {"activation_checkpointing": "selective"},
        {"sequence_parallel": 2},
        {"sequence_parallel": 2, "micro_batch_tokens": None},
        {"sequence_parallel": 2, "activation_checkpointing": "full"},
        {"sequence_parallel": 2, "activation_checkpointing": "selective", "replicas": 2},
    ]

    cases = make_cases([{"num_workers": 2, **sharding} for sharding in shardings])

    assert_ranks_equal_plain(cases, models, tmp_path)


def measure_weighted_sums(model: Path) -> list[tuple[float, float]]:
    """Return, for samples of skewed lengths, the loss and what its token losses add up to."""
    sharding, training = make_sharding(num_workers=2), make_training(compute_dtype="bfloat16")
    ranks = join_ranks(sharding)
    state = start_state(model, training=training, sharding=sharding, ranks=ranks)
    sums = []
    for num_supervised in (1, 3, 5, 7, 100):
        positions = torch.arange(num_supervised)
        weights = torch.full((num_supervised,), 1 / (7 * num_supervised))
        result = state.model(
            input_ids=positions % VOCABULARY,
            position_ids=positions,
            supervised=positions,
            targets=positions % VOCABULARY,
            loss_weights=weights,
            documents=describe_documents(
                (num_supervised,),
                backend=sharding.attention,
                device=ranks.device,
                sequence_group=None,
            ),
        )
        sums.append((result.loss.item(), (weights * result.token_losses).sum().item()))
    return sums


def test_two_ranks_in_bfloat16_weigh_tokens_in_float32(models: Path, tmp_path: Path) -> None:
    for sums in run_on_ranks(2, tmp_path, measure_weighted_sums, models / "tied"):
        for loss, expected in sums:
            assert loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sharding",
    [
        {"sequence_parallel": 2, "replicas": 2},
        {"sequence_parallel": 4},
        {"replicas": 2, "micro_batch_tokens": None},
    ],
)
def test_gradient_of_four_processes_is_that_of_the_plain_loop(
    models: Path, tmp_path: Path, sharding: dict[str, Any]
) -> None:
    # Four ranks on two key-value heads: each of these goes to two ranks.
    cases = make_cases([{"num_workers": 4, **sharding}])

    assert_ranks_equal_plain(cases, models, tmp_path)
