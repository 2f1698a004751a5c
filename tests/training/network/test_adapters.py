"""LoRA: what is trained, with which gradient, and alike on any number of ranks."""

import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor
from torch.optim import SGD
from transformers import AutoModelForCausalLM

from s1ray.config.training import LoraConfig
from s1ray.training.loop import TrainState, start_state, train
from s1ray.training.network.sharding import join_ranks
from tests.training.plain_loop import (
    draw_examples,
    make_optimizer,
    make_sharding,
    make_training,
    read_weights,
    save_tiny_model,
)
from tests.training.ranks import run_on_ranks

EXAMPLES = draw_examples(3, num_samples=6, longest=40)
TARGETS = ("q_proj", "v_proj", "down_proj")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"), is_tied=True)


def make_lora(**changes: Any) -> LoraConfig:
    values = {"rank": 4, "alpha": 8, "targets": TARGETS, "base_dtype": "float32"}
    return LoraConfig.model_validate(values | changes)


def start(
    path: Path, *, num_workers: int = 1, activation_checkpointing: str = "none", **changes: Any
) -> TrainState:
    sharding = make_sharding(
        num_workers=num_workers, activation_checkpointing=activation_checkpointing
    )
    training = make_training(**({"lora": make_lora()} | changes))
    return start_state(path, training=training, sharding=sharding, ranks=join_ranks(sharding))


def train_adapters(
    path: Path, num_workers: int, changes: dict[str, Any]
) -> tuple[list[float], dict[str, Tensor]]:
    """Train two steps and return their losses and the whole weights, adapters and base."""
    state = start(path, num_workers=num_workers, **changes)
    sharding = make_sharding(num_workers=num_workers)
    steps = train(
        state,
        examples=EXAMPLES,
        training=make_training(**({"lora": make_lora()} | changes)),
        sharding=sharding,
        ranks=join_ranks(sharding),
    )
    losses = [metrics.loss_nats for metrics in steps]
    assert len(losses) == 2
    return losses, read_weights(state)


def test_adapters_alone_are_trained(tiny: Path) -> None:
    before = read_weights(start(tiny))

    _, after = train_adapters(tiny, 1, {})

    changed = {name for name in before if not torch.equal(before[name], after[name])}
    adapters = {name for name in before if ".lora_" in name}
    assert changed == adapters
    assert len(adapters) == 2 * 2 * len(TARGETS)


@pytest.mark.parametrize("mode", ["selective", "full"])
def test_adapters_begin_alike_however_activations_are_kept(tiny: Path, mode: str) -> None:
    plain = read_weights(start(tiny))

    kept = read_weights(start(tiny, activation_checkpointing=mode))

    assert kept.keys() == plain.keys()
    assert all(torch.equal(kept[name], plain[name]) for name in plain)


def test_first_loss_is_that_of_the_model_without_adapters(tiny: Path) -> None:
    losses = []
    for lora in (make_lora(), None):
        training = make_training(lora=lora)
        sharding = make_sharding()
        state = start(tiny, lora=lora)
        steps = train(
            state,
            examples=EXAMPLES,
            training=training,
            sharding=sharding,
            ranks=join_ranks(sharding),
        )
        losses.append(next(steps).loss_nats)

    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_gradient_of_adapters_is_that_of_the_plain_loop(tiny: Path) -> None:
    training = make_training(
        lora=make_lora(),
        global_batch_size=len(EXAMPLES),
        optimizer=make_optimizer(learning_rate=1.0, max_grad_norm=1e9),
    )
    state = start(tiny)
    for name, parameter in state.model.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.1)
    before = read_weights(state)
    state.optimizer = SGD([p for p in state.model.parameters() if p.requires_grad], lr=1.0)
    sharding = make_sharding()
    list(
        train(
            state,
            examples=EXAMPLES,
            training=training,
            sharding=sharding,
            ranks=join_ranks(sharding),
        )
    )
    after = read_weights(state)

    expected = compute_plain_adapter_gradient(tiny, before)
    assert len(expected) == 12
    for name, gradient in expected.items():
        torch.testing.assert_close(before[name] - after[name], gradient, atol=1e-5, rtol=0)


def compute_plain_adapter_gradient(path: Path, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        model = peft.get_peft_model(
            AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager"),
            peft.LoraConfig(r=4, lora_alpha=8, target_modules=list(TARGETS), task_type="CAUSAL_LM"),
        )
    model.get_base_model().load_state_dict(weights)
    for example in EXAMPLES:
        ids, first = torch.tensor(example.input_ids), max(example.num_prompt_tokens, 1)
        logits = model(input_ids=ids[None]).logits[0, first - 1 : -1]
        (F.cross_entropy(logits, ids[first:]) / len(EXAMPLES)).backward()
    named = model.get_base_model().named_parameters()
    return {name: p.grad for name, p in named if p.grad is not None}


@pytest.mark.slow
def test_adapters_over_two_processes_are_those_of_one(tiny: Path, tmp_path: Path) -> None:
    _, alone = train_adapters(tiny, 1, {})

    (_, first), (_, second) = run_on_ranks(2, tmp_path, train_adapters, tiny, 2, {})

    for name, weight in alone.items():
        torch.testing.assert_close(first[name], weight, atol=1e-5, rtol=0)
        torch.testing.assert_close(second[name], first[name], atol=0, rtol=0)


def test_base_in_bfloat16_keeps_float32_adapters(tiny: Path) -> None:
    lora = make_lora(base_dtype="bfloat16")

    _, weights = train_adapters(tiny, 1, {"lora": lora, "compute_dtype": "bfloat16"})

    dtypes = {(".lora_" in name, weight.dtype) for name, weight in weights.items()}
    assert dtypes == {(True, torch.float32), (False, torch.bfloat16)}


@pytest.mark.slow
def test_base_in_bfloat16_is_sharded_beside_float32_adapters(tiny: Path, tmp_path: Path) -> None:
    changes = {"lora": make_lora(base_dtype="bfloat16"), "compute_dtype": "bfloat16"}
    losses, alone = train_adapters(tiny, 1, changes)

    (sharded_losses, sharded), _ = run_on_ranks(2, tmp_path, train_adapters, tiny, 2, changes)

    assert sharded_losses == pytest.approx(losses, rel=2e-2)
    assert {name: w.dtype for name, w in sharded.items()} == {n: w.dtype for n, w in alone.items()}


def test_base_in_bfloat16_without_bfloat16_compute_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"base_dtype=bfloat16 needs .*compute_dtype"):
        make_training(lora=make_lora(base_dtype="bfloat16"))


def test_unknown_target_names_the_legal_ones(tiny: Path) -> None:
    with pytest.raises(ValueError, match=r"names query, .*down_proj, gate_proj, k_proj, o_proj"):
        start(tiny, lora=make_lora(targets=("query", "v_proj")))
