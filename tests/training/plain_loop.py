"""The oracle: one sample at a time through transformers, whole logits, no packing, no ranks."""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.distributed.tensor import DTensor
from torch.optim import SGD
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from s1ray.config.training import LoraConfig, OptimizerConfig, ShardingConfig, TrainingConfig
from s1ray.records import StepMetrics, TokenizedExample
from s1ray.training.loop import TrainState, start_state, train
from s1ray.training.network.model import plain_name
from s1ray.training.network.sharding import join_ranks

VOCABULARY = 97
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}


def save_tiny_model(path: Path, *, is_tied: bool, architecture: str = "qwen2") -> Path:
    torch.manual_seed(0)
    if architecture == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**SHAPE, tie_word_embeddings=is_tied))
    else:
        model = LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=is_tied))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(path)
    return path


def draw_examples(seed: int, *, num_samples: int, longest: int) -> list[TokenizedExample]:
    rng = random.Random(seed)
    lengths = [rng.randint(2, longest) for _ in range(num_samples)]
    return [
        TokenizedExample(
            key=f"sample{index}",
            input_ids=tuple(rng.randrange(VOCABULARY) for _ in range(length)),
            num_prompt_tokens=rng.randint(0, length - 1),
            num_truncated_tokens=0,
        )
        for index, length in enumerate(lengths)
    ]


def compute_plain_gradient(
    path: Path, examples: Sequence[TokenizedExample], *, weighting: str
) -> tuple[float, dict[str, torch.Tensor]]:
    """Return loss and gradients of one step over all examples."""
    model = AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager")
    total = sum(len(e.input_ids) - max(e.num_prompt_tokens, 1) for e in examples)
    step_loss = 0.0
    for example in examples:
        ids = torch.tensor(example.input_ids)
        first = max(example.num_prompt_tokens, 1)
        logits = model(input_ids=ids[None]).logits[0, first - 1 : -1]
        token_losses = F.cross_entropy(logits, ids[first:], reduction="none")
        if weighting == "sample":
            loss = token_losses.mean() / len(examples)
        else:
            loss = token_losses.sum() / total
        loss.backward()
        step_loss += loss.item()
    return step_loss, {name: p.grad for name, p in model.named_parameters()}


def make_training(**changes: object) -> TrainingConfig:
    values: dict[str, object] = {
        "seed": 1,
        "num_epochs": 1,
        "max_steps": None,
        "max_tokens": None,
        "global_batch_size": 4,
        "max_seq_len": 256,
        "overflow": "truncate",
        "loss_weighting": "sample",
        "conditioning": "none",
        "compute_dtype": "float32",
        "reduce_dtype": "float32",
        "lora": None,
        "optimizer": make_optimizer(),
    }
    return TrainingConfig.model_validate(values | changes)


def make_optimizer(**changes: object) -> OptimizerConfig:
    values: dict[str, object] = {
        "learning_rate": 1e-3,
        "warmup_ratio": 0.0,
        "beta1": 0.9,
        "beta2": 0.95,
        "epsilon": 1e-8,
        "weight_decay": 1e-4,
        "max_grad_norm": 1.0,
        "moments_dtype": "float32",
    }
    return OptimizerConfig.model_validate(values | changes)


def make_sharding(**changes: object) -> ShardingConfig:
    values: dict[str, object] = {
        "num_workers": 1,
        "device": "cpu",
        "sequence_parallel": 1,
        "replicas": 1,
        "reshard_after_forward": True,
        "activation_checkpointing": "none",
        "attention": "per_document",
        "micro_batch_tokens": 64,
        "loss_chunk_tokens": 7,
        "cpu_offload": False,
        "compile": False,
    }
    return ShardingConfig.model_validate(values | changes)


def read_weights(state: TrainState) -> dict[str, torch.Tensor]:
    """Return whole weights under their names in safetensors."""
    weights = state.model.causal_lm.state_dict()
    return {
        plain_name(name): (w.full_tensor() if isinstance(w, DTensor) else w).detach().clone()
        for name, w in weights.items()
    }


def measure_house_gradient(
    path: Path,
    examples: Sequence[TokenizedExample],
    *,
    weighting: str,
    lora: LoraConfig | None = None,
    **sharding: object,
) -> tuple[StepMetrics, dict[str, torch.Tensor]]:
    """Return one step's metrics and gradients, through the public loop alone.

    The optimizer is plain gradient descent at rate 1, so the weights move by the gradient.
    """
    house = make_sharding(**sharding)
    training = make_training(
        global_batch_size=len(examples),
        loss_weighting=weighting,
        lora=lora,
        optimizer=make_optimizer(learning_rate=1.0, max_grad_norm=1e9),
    )
    ranks = join_ranks(house)
    state = start_state(path, training=training, sharding=house, ranks=ranks)
    state.optimizer = SGD(state.model.parameters(), lr=1.0)
    before = read_weights(state)
    (metrics,) = train(state, examples=examples, training=training, sharding=house, ranks=ranks)
    after = read_weights(state)
    return metrics, {name: before[name] - after[name] for name in before}
