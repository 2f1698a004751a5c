"""Small real things that tests share: a byte-level tokenizer, a tiny random Qwen2, a tiny GGUF."""

import random
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import yaml

from s1ray.config.model import ModelConfig, RandomModelConfig
from s1ray.model_source.random_model import build_byte_tokenizer, write_random_qwen2

CONF = Path(__file__).parents[1] / "conf"


def read_model_config(name: str, **changes: Any) -> ModelConfig:
    """conf/model/<name>.yaml, without Hydra, with top-level keys changed."""
    content = yaml.safe_load((CONF / "model" / f"{name}.yaml").read_text(encoding="utf-8"))
    if content["random"]:
        content["random"]["max_position_embeddings"] = content["context_tokens"]
    return ModelConfig.model_validate({**content, **changes})


def tiny_shape(**changes: Any) -> RandomModelConfig:
    """The shape of experiment=tiny, with some fields changed."""
    shape = read_model_config("tiny").random
    assert shape is not None
    return RandomModelConfig.model_validate({**shape.model_dump(), **changes})


def write_tiny_qwen2(directory: Path, **changes: Any) -> Path:
    """Write a two-layer random Qwen2 with its tokenizer; changes go to the shape."""
    directory.mkdir(parents=True, exist_ok=True)
    write_random_qwen2(directory, shape=tiny_shape(**changes))
    return directory


def draw_weights(model: torch.nn.Module, *, seed: int) -> None:
    """Fill a model for golden values: no release of torch or transformers moves these numbers."""
    draw = random.Random(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            centre = 1.0 if name.endswith("norm.weight") else 0.0
            values = [centre + draw.uniform(-0.3, 0.3) for _ in range(weight.numel())]
            weight.copy_(torch.tensor(values).reshape(weight.shape))


def write_byte_tokenizer(directory: Path) -> Path:
    """Write the byte-level ChatML tokenizer alone."""
    directory.mkdir(parents=True, exist_ok=True)
    build_byte_tokenizer(max_length=2048).save_pretrained(directory)
    return directory


def write_tiny_gguf(path: Path, *, fields: Mapping[str, str | None]) -> Path:
    """Write a one-layer Llama in GGUF with a byte-level vocabulary.

    Args:
        fields: ``tokenizer.ggml.pre`` and ``tokenizer.chat_template``; None leaves a field out.
    """
    vocabulary = build_byte_tokenizer(max_length=64).get_vocab()
    tokens = [token for token, _ in sorted(vocabulary.items(), key=lambda item: item[1])]
    newline = "\N{LATIN CAPITAL LETTER C WITH DOT ABOVE}"  # as byte-level vocabularies spell it
    tokens.append(newline * 2)
    num_special = 3
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(16)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(8)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 256 + [3] * num_special + [1])
    writer.add_token_merges([f"{newline} {newline}"])
    writer.add_bos_token_id(257)
    writer.add_eos_token_id(258)
    for name, value in fields.items():
        if value is not None:
            writer.add_string(name, value)
    _add_tensors(writer, vocabulary_size=len(tokens))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@contextmanager
def full_disk(*, limit_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _add_tensors(writer: gguf.GGUFWriter, *, vocabulary_size: int) -> None:
    noise = np.random.default_rng(0)
    shapes = {
        "token_embd.weight": (vocabulary_size, 16),
        "output_norm.weight": (16,),
        "blk.0.attn_norm.weight": (16,),
        "blk.0.ffn_norm.weight": (16,),
        "blk.0.attn_q.weight": (16, 16),
        "blk.0.attn_k.weight": (8, 16),
        "blk.0.attn_v.weight": (8, 16),
        "blk.0.attn_output.weight": (16, 16),
        "blk.0.ffn_gate.weight": (32, 16),
        "blk.0.ffn_up.weight": (32, 16),
        "blk.0.ffn_down.weight": (16, 32),
    }
    for name, shape in shapes.items():
        writer.add_tensor(name, noise.normal(size=shape).astype(np.float32))
