"""Texts, masks and the block's limit, against s1's format facts and its true rows."""

from typing import Any

import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from s1ray.chat_format import DELIMITERS, decode
from s1ray.config.training import Overflow
from s1ray.model_source.random_model import build_byte_tokenizer
from s1ray.records import ReasoningTrace
from s1ray.training.samples.examples import TokenizedSet, tokenize_traces
from tests.reference_data import find_reference
from tests.training.samples.traces import make_trace

QWEN_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
IM_START, IM_END, NEWLINE, ASSISTANT = 151644, 151645, 198, 77091

LLAMA3_TEMPLATE = """\
{{- '<|begin_of_text|>' -}}
{%- for message in messages -%}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' -}}
    {{- message['content'] | trim + '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
{%- endif -%}
"""
"""As in meta-llama/Llama-3.1-8B-Instruct, without tools and dates."""


def tokenize(traces: list[ReasoningTrace], tokenizer: Any, **changes: Any) -> TokenizedSet:
    options = {"max_seq_len": 32768, "overflow": Overflow.TRUNCATE, "system_prompt": None}
    return tokenize_traces(traces, tokenizer, delimiters=DELIMITERS["s1"], **(options | changes))


@pytest.fixture(scope="module")
def qwen() -> Any:
    return AutoTokenizer.from_pretrained(find_reference("qwen2_5_tokenizer"))


@pytest.fixture(scope="module")
def s1k_rows() -> list[dict[str, str]]:
    path = find_reference("traces/s1k_sample5.parquet")
    rows: list[dict[str, str]] = pq.read_table(path).to_pylist()
    return rows


def make_s1k_traces(rows: list[dict[str, str]]) -> list[ReasoningTrace]:
    return [
        make_trace(
            row["question"], row["gemini_thinking_trajectory"], row["gemini_attempt"], f"row{i}"
        )
        for i, row in enumerate(rows)
    ]


def spell_as_s1(row: dict[str, str]) -> str:
    """simplescaling/s1@77272c6 data/tokenization.py, spelled out."""
    answer = row["gemini_attempt"]
    answer = f"Answer: {answer}" if "Answer:" not in answer else answer
    return (
        f"<|im_start|>system\n{QWEN_SYSTEM}<|im_end|>\n"
        f"<|im_start|>user\n{row['question']}<|im_end|>\n"
        f"<|im_start|>assistant\n"
        f"<|im_start|>think\n{row['gemini_thinking_trajectory'].strip()}\n"
        f"<|im_start|>answer\n{answer}<|im_end|>\n"
    )


def test_ids_of_true_s1k_rows_are_those_of_the_whole_text(
    qwen: Any, s1k_rows: list[dict[str, str]]
) -> None:
    tokenized = tokenize(make_s1k_traces(s1k_rows), qwen)

    expected = [tuple(qwen(spell_as_s1(row))["input_ids"]) for row in s1k_rows]
    is_equal = [
        example.input_ids == ids for example, ids in zip(tokenized.examples, expected, strict=True)
    ]
    assert is_equal == [True] * 5


def test_mask_of_true_s1k_rows_ends_with_the_response_template(
    qwen: Any, s1k_rows: list[dict[str, str]]
) -> None:
    tokenized = tokenize(make_s1k_traces(s1k_rows), qwen)

    for example in tokenized.examples:
        prompt = example.input_ids[: example.num_prompt_tokens]
        completion = example.input_ids[example.num_prompt_tokens :]
        assert prompt[-3:] == (IM_START, ASSISTANT, NEWLINE)
        assert completion[0] == IM_START
        assert completion[-2:] == (IM_END, NEWLINE)
        assert completion.count(IM_START) == 2


def test_true_s1k_rows_are_as_long_as_the_paper_says(
    qwen: Any, s1k_rows: list[dict[str, str]]
) -> None:
    tokenized = tokenize(make_s1k_traces(s1k_rows), qwen)

    # The longest s1K text has 9,109 Qwen tokens (simplescaling/s1 issue 115).
    lengths = [len(example.input_ids) for example in tokenized.examples]
    assert min(lengths) > 1000
    assert max(lengths) <= 9109
    assert tokenized.num_truncated_samples == 0


def test_answer_without_the_word_gets_it_in_front(qwen: Any) -> None:
    without, with_word = make_trace("Q?", "T", "7"), make_trace("Q?", "T", "Answer: 7")

    tokenized = tokenize([without, with_word], qwen)

    first, second = tokenized.examples
    assert first.input_ids == second.input_ids
    text = decode(qwen, first.input_ids[first.num_prompt_tokens :])
    assert text == "<|im_start|>think\nT\n<|im_start|>answer\nAnswer: 7<|im_end|>\n"


def test_chatml_byte_tokenizer_masks_up_to_the_assistant() -> None:
    tokenizer = build_byte_tokenizer(max_length=512)

    (example,) = tokenize([make_trace("1+1?", "2", "2")], tokenizer, system_prompt="Sys").examples

    assert decode(tokenizer, example.input_ids[: example.num_prompt_tokens]) == (
        "<|im_start|>system\nSys<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert decode(tokenizer, example.input_ids[example.num_prompt_tokens :]) == (
        "<|im_start|>think\n2\n<|im_start|>answer\nAnswer: 2<|im_end|>\n"
    )


def test_llama3_masks_up_to_the_header_and_ends_with_its_own_token() -> None:
    tokenizer = make_llama3_tokenizer()

    (example,) = tokenize([make_trace("1+1?", "2", "2")], tokenizer).examples

    assert decode(tokenizer, example.input_ids[: example.num_prompt_tokens]) == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n1+1?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    assert decode(tokenizer, example.input_ids[example.num_prompt_tokens :]) == (
        "<|im_start|>think\n2\n<|im_start|>answer\nAnswer: 2<|eot_id|>"
    )


def make_llama3_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = build_byte_tokenizer(max_length=512)
    words = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": words})
    tokenizer.chat_template = LLAMA3_TEMPLATE
    return tokenizer


def test_truncate_cuts_the_end_and_counts() -> None:
    tokenizer = build_byte_tokenizer(max_length=512)
    traces = [make_trace("Q", "t" * 100, "a", "long"), make_trace("Q", "t", "a", "short")]
    whole = tokenize(traces, tokenizer).examples

    tokenized = tokenize(traces, tokenizer, max_seq_len=120)

    assert tokenized.examples[0].input_ids == whole[0].input_ids[:120]
    assert tokenized.examples[0].num_truncated_tokens == len(whole[0].input_ids) - 120
    assert tokenized.examples[1] == whole[1]
    assert tokenized.num_truncated_samples == 1
    assert tokenized.num_truncated_tokens == len(whole[0].input_ids) - 120


def test_drop_leaves_long_samples_out_and_counts() -> None:
    tokenizer = build_byte_tokenizer(max_length=512)
    traces = [make_trace("Q", "t" * 100, "a", "long"), make_trace("Q", "t", "a", "short")]

    tokenized = tokenize(traces, tokenizer, max_seq_len=120, overflow=Overflow.DROP)

    assert [example.key for example in tokenized.examples] == ["short"]
    assert tokenized.num_dropped_samples == 1
    assert tokenized.num_truncated_samples == 0


def test_refuse_says_how_many_are_too_long_and_the_fix() -> None:
    tokenizer = build_byte_tokenizer(max_length=512)
    traces = [make_trace("Q", "t" * 100, "a", "long"), make_trace("Q", "t", "a", "short")]

    with pytest.raises(ValueError, match=r"1 of 2 traces \(50\.0%\).*long, has .*truncate or drop"):
        tokenize(traces, tokenizer, max_seq_len=120, overflow=Overflow.REFUSE)


def test_prompt_that_fills_the_block_is_refused_by_name() -> None:
    tokenizer = build_byte_tokenizer(max_length=512)

    with pytest.raises(ValueError, match=r"prompt of question wide has \d+ tokens.*overflow=drop"):
        tokenize([make_trace("Q" * 200, "t", "a", "wide")], tokenizer, max_seq_len=100)


def test_nothing_left_is_refused() -> None:
    tokenizer = build_byte_tokenizer(max_length=512)

    with pytest.raises(ValueError, match=r"no sample is left .*1 given, 1 longer"):
        tokenize([make_trace("Q", "t", "a")], tokenizer, max_seq_len=2, overflow=Overflow.DROP)
