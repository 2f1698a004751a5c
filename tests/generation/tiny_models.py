"""Random two-layer models, engines on them, and what transformers' own generate makes of them."""

from typing import Any

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from s1ray.generation.engine import Request
from s1ray.generation.transformers_engine import TransformersEngine
from tests.generation.scripted_engines import GREEDY

VOCABULARY = 97
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}


def build_tiny(family: str, *, vocab_size: int = VOCABULARY) -> PreTrainedModel:
    torch.manual_seed(7)
    shape = {**SHAPE, "vocab_size": vocab_size}
    if family == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**shape)).eval()
    return LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=True)).eval()


def open_engine(model: PreTrainedModel, **changes: int) -> TransformersEngine:
    settings = {
        "max_batch_size": 4,
        "cache_slots": 6,
        "max_prefill_tokens": 48,
        "context_tokens": 256,
        "num_threads": 1,
    }
    return TransformersEngine(model, **{**settings, **changes})


def ask(context: tuple[int, ...], max_tokens: int, **changes: Any) -> Request:
    settings = {"min_tokens": 0, "stop_sequences": (), "sampling": GREEDY}
    return Request(token_ids=context, max_tokens=max_tokens, **{**settings, **changes})


def generate_alone(
    model: PreTrainedModel, context: tuple[int, ...], *, max_tokens: int
) -> tuple[int, ...]:
    """Greedy continuation of one context, by transformers."""
    ids = torch.tensor([context])
    with torch.inference_mode():
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=max_tokens,
            do_sample=False,
            eos_token_id=None,
        )
    return tuple(output[0, len(context) :].tolist())
