"""Random two-layer models and what transformers' own generate makes of them."""

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

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
