"""Converted GGUF files: the same weights and the same tokens, of a tiny model and of a real one."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from s1ray.chat_format import DELIMITERS, decode, encode, read_thinking_tokens, render_prompt
from s1ray.model_source.model_directory import load_tokenizer
from s1ray.model_source.resolve import default_cache_directory
from tests.fakes import read_model_config, write_tiny_gguf
from tests.model_source.sources import (
    FIELDS,
    TEMPLATE,
    TEXTS,
    make_tiny_package,
    make_wheel,
    resolve,
)


def test_package_source_is_converted_once_and_equals_the_gguf(
    tmp_path: Path, offline_pip: Path
) -> None:
    source, sha256 = make_tiny_package(offline_pip, tmp_path)
    said: list[str] = []
    first = resolve(source, tmp_path / "cache", sha256=sha256, on_progress=said.append)
    assert len(said) == 3
    second = resolve(source, tmp_path / "cache", sha256=sha256, on_progress=said.append)
    assert (second, len(said)) == (first, 3)
    assert [path.name for path in first.parent.iterdir() if path.is_dir()] == [first.name]

    weights = load_file(first / "model.safetensors")
    embedding = AutoModelForCausalLM.from_pretrained(first).get_input_embeddings().weight
    assert torch.equal(weights["model.embed_tokens.weight"], embedding)
    assert embedding.dtype == torch.float32
    assert load_tokenizer(first).chat_template == TEMPLATE


def test_gguf_tokenizer_cuts_digits_before_white_space_as_smollm_does(
    tmp_path: Path, offline_pip: Path
) -> None:
    source, sha256 = make_tiny_package(offline_pip, tmp_path)
    tokenizer = load_tokenizer(resolve(source, tmp_path / "cache", sha256=sha256))
    # GPT-2's pattern would leave the second newline to the digit and find no pair to merge.
    assert encode(tokenizer, "\n\n5") == (259, *encode(tokenizer, "5"))
    for text in TEXTS:
        assert decode(tokenizer, encode(tokenizer, text)) == text


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("tokenizer.ggml.pre", "unheard-of", r"cuts text as 'unheard-of'.*known here: smollm"),
        ("tokenizer.ggml.pre", None, r"cuts text as None.*known here: smollm"),
        ("tokenizer.chat_template", None, r"holds no chat template.*instruct model"),
    ],
)
def test_package_gguf_without_what_a_chat_needs_is_refused(
    tmp_path: Path, offline_pip: Path, field: str, value: str | None, message: str
) -> None:
    content = write_tiny_gguf(tmp_path / "t.gguf", fields={**FIELDS, field: value}).read_bytes()
    source = make_wheel(offline_pip, members={"tinypack/t.gguf": content})
    with pytest.raises(ValueError, match=message):
        resolve(source, tmp_path / "cache", sha256=hashlib.sha256(content).hexdigest())


@pytest.fixture(scope="module")
def smollm2() -> Path:
    config = read_model_config("smollm2_135m")
    try:
        return resolve(config.source, default_cache_directory(), sha256=config.sha256)
    except ValueError as error:
        if "pip could not download" in str(error):
            pytest.skip(f"no package registry: {error}")
        raise


@pytest.mark.slow
def test_smollm2_tokenizer_is_the_one_it_was_trained_with(smollm2: Path) -> None:
    tokenizer = load_tokenizer(smollm2)
    tokens = read_thinking_tokens(tokenizer, DELIMITERS["s1"])
    assert (tokens.start, tokens.stop, tokens.end) == ((1, 17400), (1,), (1, 11247))
    assert tokens.turn_end == (2,)
    assert tokenizer.eos_token == "<|im_end|>"
    assert encode(tokenizer, "Wait") == (33359,)
    for text in TEXTS:
        assert decode(tokenizer, encode(tokenizer, text)) == text
    assert len(encode(tokenizer, "12345")) == 5
    assert len(encode(tokenizer, "\n\n5")) == 2
    assert render_prompt(tokenizer, "Hi", system_prompt=None) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
        "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.slow
def test_smollm2_answers_in_english(smollm2: Path) -> None:
    tokenizer = load_tokenizer(smollm2)
    model, loading = AutoModelForCausalLM.from_pretrained(smollm2, output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    prompt = encode(
        tokenizer, render_prompt(tokenizer, "What is the capital of France?", system_prompt=None)
    )
    ids = torch.tensor([prompt])
    written = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False
    )
    answer = decode(tokenizer, written[0, len(prompt) :].tolist())
    assert answer == "The capital of France is Paris.<|im_end|>"
