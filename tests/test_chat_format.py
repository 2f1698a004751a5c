"""What a tokenizer must have for its turns to end where generation stops."""

from pathlib import Path

import pytest

from s1ray.chat_format import DELIMITERS, Tokenizer, read_thinking_tokens
from s1ray.model_source.model_directory import load_tokenizer
from tests.fakes import write_byte_tokenizer

TURN = "{%% for m in messages %%}%s{{ m['content'] }}%s{%% endfor %%}"


def load_with_turn_end(directory: Path, turn_end: str) -> Tokenizer:
    write_byte_tokenizer(directory)
    (directory / "chat_template.jinja").write_text(TURN % ("<|im_start|>", turn_end))
    return load_tokenizer(directory)


def test_turn_end_of_several_tokens_is_refused(tmp_path: Path) -> None:
    tokenizer = load_with_turn_end(tmp_path, "### end")

    with pytest.raises(ValueError, match=r"ends a turn with '### end'.* in 7 tokens.*eos_token"):
        read_thinking_tokens(tokenizer, DELIMITERS["s1"])


@pytest.mark.parametrize("turn_end", ["<|im_end|>\n", "<|im_end|>\n<|endoftext|>", ""])
def test_turn_ends_at_its_first_special_token(tmp_path: Path, turn_end: str) -> None:
    tokenizer = load_with_turn_end(tmp_path, turn_end)

    ends = read_thinking_tokens(tokenizer, DELIMITERS["s1"]).turn_end

    assert ends == tuple(tokenizer.encode("<|im_end|>", add_special_tokens=False))
