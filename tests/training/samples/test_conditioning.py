from typing import Any

import pytest

from s1ray.chat_format import DELIMITERS, decode, encode
from s1ray.config.training import Conditioning, Overflow
from s1ray.generation.conditioning import ask_for_steps, ask_for_tokens
from s1ray.model_source.model_directory import load_tokenizer
from s1ray.training.samples.conditioning import check_conditioning, condition_traces
from s1ray.training.samples.examples import tokenize_traces
from tests.fakes import write_byte_tokenizer
from tests.training.samples.traces import make_trace

TRACE = make_trace("What is 2 + 2?", "first\n\nsecond\n\nthird", "4")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_tokenizer(write_byte_tokenizer(tmp_path_factory.mktemp("bytes")))


def write(tokenizer: Any, conditioning: Conditioning, preset: str) -> str:
    traces = condition_traces(
        [TRACE], conditioning=conditioning, tokenizer=tokenizer, delimiters=DELIMITERS[preset]
    )
    made = tokenize_traces(
        traces,
        tokenizer,
        delimiters=DELIMITERS[preset],
        system_prompt=None,
        max_seq_len=4096,
        overflow=Overflow.REFUSE,
    )
    return decode(tokenizer, made.examples[0].input_ids)


def test_plain_text_asks_for_nothing(tokenizer: Any) -> None:
    assert "Think for up to" not in write(tokenizer, Conditioning.NONE, "s1")


def test_token_limit_is_the_next_power_of_two_as_the_prompt_words_it(tokenizer: Any) -> None:
    text = write(tokenizer, Conditioning.TOKENS, "s1")
    num_tokens = len(encode(tokenizer, TRACE.thinking))
    assert 16 < num_tokens <= 32
    assert "What is 2 + 2?" + ask_for_tokens(32) in text


def test_steps_are_counted_down_from_the_next_power_of_two(tokenizer: Any) -> None:
    text = write(tokenizer, Conditioning.STEPS, "s1_steps")
    assert "What is 2 + 2?" + ask_for_steps(4) in text
    heads = [f"<|im_start|>{left} steps left\n" for left in (4, 3, 2)]
    places = [text.index(head) for head in heads]
    assert places == sorted(places)
    assert "<|im_start|>1 steps left" not in text


@pytest.mark.parametrize(
    ("conditioning", "preset"),
    [
        (Conditioning.STEPS, "s1"),
        (Conditioning.NONE, "s1_steps"),
        (Conditioning.TOKENS, "s1_steps"),
    ],
)
def test_format_that_does_not_fit_is_refused(conditioning: Conditioning, preset: str) -> None:
    with pytest.raises(ValueError, match="s1_steps"):
        check_conditioning(conditioning, DELIMITERS[preset])


@pytest.mark.parametrize("conditioning", [Conditioning.NONE, Conditioning.TOKENS])
def test_format_that_fits_is_taken(conditioning: Conditioning) -> None:
    check_conditioning(conditioning, DELIMITERS["s1"])
    check_conditioning(Conditioning.STEPS, DELIMITERS["s1_steps"])
