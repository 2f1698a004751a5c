"""Random models: whole, the same every time, with a tokenizer that any text survives."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from s1ray.chat_format import DELIMITERS, decode, encode, read_thinking_tokens, render_prompt
from s1ray.model_source.fingerprint import fingerprint_model
from s1ray.model_source.model_directory import load_tokenizer
from tests.fakes import tiny_shape, write_byte_tokenizer
from tests.model_source.sources import TEXTS, resolve


def test_random_source_is_whole_repeatable_and_leaves_the_generator_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected_noise = torch.rand(3)
    torch.manual_seed(5)
    one = resolve("random:qwen2", tmp_path / "a", random=tiny_shape())
    assert torch.equal(torch.rand(3), expected_noise)
    two = resolve("random:qwen2", tmp_path / "b", random=tiny_shape())
    other = resolve("random:qwen2", tmp_path / "a", random=tiny_shape(seed=1))

    assert fingerprint_model(one) == fingerprint_model(two)
    assert fingerprint_model(one).weights != fingerprint_model(other).weights
    assert fingerprint_model(one).config == fingerprint_model(other).config
    model, loading = AutoModelForCausalLM.from_pretrained(one, output_loading_info=True)
    assert not loading["missing_keys"]
    assert model.config.num_hidden_layers == 2


@pytest.mark.parametrize("text", TEXTS)
def test_byte_tokenizer_any_text_round_trips(tmp_path: Path, text: str) -> None:
    tokenizer = load_tokenizer(write_byte_tokenizer(tmp_path))
    assert decode(tokenizer, encode(tokenizer, text)) == text
    assert len(encode(tokenizer, "Wait")) == 4


def test_byte_tokenizer_special_tokens_are_single_and_end_the_turn(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_byte_tokenizer(tmp_path))
    tokens = read_thinking_tokens(tokenizer, DELIMITERS["s1"])
    assert tokens.stop == (257,)
    assert tokens.turn_end == (258,)
    assert render_prompt(tokenizer, "hi", system_prompt=None) == (
        "<|im_start|>system\nBe right.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert render_prompt(tokenizer, "hi", system_prompt="S").startswith("<|im_start|>system\nS<")


def test_random_source_of_unknown_family_names_the_legal_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"random:bert.*Legal: random:qwen2"):
        resolve("random:bert", tmp_path, random=tiny_shape())
