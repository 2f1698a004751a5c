"""Model directories: what one lacks is named, and tokenizers are loaded as they are."""

import json
from pathlib import Path

import pytest

from s1ray.chat_format import DELIMITERS, decode, encode, read_thinking_tokens
from s1ray.model_source.fingerprint import fingerprint_model
from s1ray.model_source.model_directory import check_model_directory, load_tokenizer
from tests.fakes import write_tiny_qwen2
from tests.model_source.sources import TEXTS, resolve, split_weights
from tests.reference_data import find_reference


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", r"has no config.json.*save_pretrained"),
        ("model.safetensors", r"lacks model.safetensors.*Only safetensors"),
        ("tokenizer.json", r"lacks the tokenizer file tokenizer.json.*Copy the tokenizer"),
        ("tokenizer_config.json", r"lacks the tokenizer file tokenizer_config.json"),
        ("chat_template.jinja", r"has no chat template.*instruct model"),
    ],
)
def test_local_source_lacking_a_file_names_it(tmp_path: Path, missing: str, message: str) -> None:
    directory = write_tiny_qwen2(tmp_path / "model")
    (directory / missing).unlink()
    with pytest.raises(ValueError, match=message):
        resolve(str(directory), tmp_path / "cache")


def test_local_source_lacking_a_shard_names_it(tmp_path: Path) -> None:
    directory = write_tiny_qwen2(tmp_path / "model")
    split_weights(directory)
    check_model_directory(directory)
    (directory / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ValueError, match=r"lacks model-00002-of-00002.safetensors"):
        resolve(str(directory), tmp_path / "cache")


def test_local_source_that_is_an_adapter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"an adapter without its base model. To evaluate it, set target"
    ):
        resolve(str(tmp_path), tmp_path / "cache")


def test_chat_template_inside_the_tokenizer_configuration_counts(tmp_path: Path) -> None:
    directory = write_tiny_qwen2(tmp_path / "model")
    before = fingerprint_model(directory)
    template = (directory / "chat_template.jinja").read_text(encoding="utf-8")
    settings = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))
    (directory / "chat_template.jinja").unlink()
    (directory / "tokenizer_config.json").write_text(
        json.dumps({**settings, "chat_template": template}), encoding="utf-8"
    )
    assert load_tokenizer(directory).chat_template == template
    assert fingerprint_model(directory) == before


def test_qwen2_5_tokenizer_is_loaded_as_it_is() -> None:
    tokenizer = load_tokenizer(find_reference("qwen2_5_tokenizer"))
    tokens = read_thinking_tokens(tokenizer, DELIMITERS["s1"])
    assert (tokens.stop, tokens.turn_end) == ((151644,), (151645,))
    assert encode(tokenizer, "Wait") == (14190,)
    for text in TEXTS:
        assert decode(tokenizer, encode(tokenizer, text)) == text
