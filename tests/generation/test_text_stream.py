from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from s1ray.chat_format import decode, encode
from s1ray.generation.text_stream import TextStream
from s1ray.model_source.model_directory import load_tokenizer
from tests.fakes import write_byte_tokenizer

TEXT = "Wait: \N{GREEK SMALL LETTER PI} is not 22/7 \N{PARTY POPPER}\n\n\N{HIRAGANA LETTER A}"


@pytest.fixture(scope="module")
def byte_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    return load_tokenizer(write_byte_tokenizer(tmp_path_factory.mktemp("bytes")))


def cut(ids: tuple[int, ...], width: int) -> list[tuple[int, ...]]:
    return [ids[start : start + width] for start in range(0, len(ids), width)]


@pytest.mark.parametrize("width", [1, 2, 5, 100])
def test_pieces_add_up_and_no_character_is_torn(
    byte_tokenizer: PreTrainedTokenizerBase, width: int
) -> None:
    stream = TextStream(byte_tokenizer)
    pieces = [stream.add(ids) for ids in cut(encode(byte_tokenizer, TEXT), width)]
    assert "".join(pieces) == TEXT
    assert stream.finish() == ""


@given(ids=st.lists(st.integers(0, 255), max_size=40), width=st.integers(1, 6))
def test_broken_bytes_come_out_as_decoded_whole(
    byte_tokenizer: PreTrainedTokenizerBase, ids: list[int], width: int
) -> None:
    stream = TextStream(byte_tokenizer)
    text = "".join(stream.add(piece) for piece in cut(tuple(ids), width)) + stream.finish()
    assert text == decode(byte_tokenizer, ids)


def test_real_tokenizer_streams_every_piece(qwen_tokenizer: PreTrainedTokenizerBase) -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    stream = TextStream(qwen_tokenizer)
    pieces = [stream.add((token,)) for token in encode(qwen_tokenizer, text)]
    assert "".join(pieces) + stream.finish() == text
