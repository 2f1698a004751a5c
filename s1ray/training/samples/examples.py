"""ReasoningTraces to TokenizedExamples: the text of s1, its loss mask, and the block's limit.

It does not know files, batches or models. Prompt and completion are tokenised apart, so that the
mask falls exactly where generation will start.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from s1ray.chat_format import Delimiters, Tokenizer, encode, render_training_text
from s1ray.config.training import Overflow
from s1ray.records import ReasoningTrace, TokenizedExample


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedSet:
    """The examples of a run, and what the block's limit did to them."""

    examples: tuple[TokenizedExample, ...]
    """In the order of the traces."""
    num_truncated_samples: int
    num_truncated_tokens: int
    num_dropped_samples: int


def tokenize_traces(
    traces: Sequence[ReasoningTrace],
    tokenizer: Tokenizer,
    *,
    delimiters: Delimiters,
    system_prompt: str | None,
    max_seq_len: int,
    overflow: Overflow,
) -> TokenizedSet:
    """Return the traces as token ids with the loss on the completion alone.

    Args:
        traces: What is trained on, one sample each.
        tokenizer: Carries the chat template.
        delimiters: How thinking is set apart.
        system_prompt: None leaves the template's own default in place, as s1 does.
        max_seq_len: Longest sample in tokens.
        overflow: Whether a longer sample is cut at its end, left out or refused.

    Raises:
        ValueError: There is no sample, a sample is too long and ``overflow`` refuses it, or a
            sample's prompt fills the block so that nothing would carry loss.

    Source: simplescaling/s1@77272c6 data/tokenization.py, train/sft.py (block_size truncates).
    """
    whole = [
        _tokenize(trace, tokenizer, delimiters=delimiters, system_prompt=system_prompt)
        for trace in traces
    ]
    examples = _fit(whole, max_seq_len=max_seq_len, overflow=overflow)
    return TokenizedSet(
        examples=tuple(examples),
        num_truncated_samples=sum(example.num_truncated_tokens > 0 for example in examples),
        num_truncated_tokens=sum(example.num_truncated_tokens for example in examples),
        num_dropped_samples=len(whole) - len(examples),
    )


def _fit(
    whole: Sequence[TokenizedExample], *, max_seq_len: int, overflow: Overflow
) -> list[TokenizedExample]:
    """Return the samples as the block takes them."""
    too_long = [example for example in whole if len(example.input_ids) > max_seq_len]
    if too_long and overflow is Overflow.REFUSE:
        raise ValueError(_describe_overflow(whole, too_long, max_seq_len))
    if overflow is Overflow.DROP:
        examples = [example for example in whole if len(example.input_ids) <= max_seq_len]
    else:
        examples = [_truncate(example, max_seq_len) for example in whole]
    if not examples:
        raise ValueError(
            f"no sample is left to train on ({len(whole)} given, {len(too_long)} longer than "
            f"training.max_seq_len={max_seq_len}). Give more traces or raise max_seq_len."
        )
    return examples


def _tokenize(
    trace: ReasoningTrace,
    tokenizer: Tokenizer,
    *,
    delimiters: Delimiters,
    system_prompt: str | None,
) -> TokenizedExample:
    text = render_training_text(
        tokenizer,
        question=trace.question.text,
        thinking=trace.thinking,
        answer=trace.answer,
        delimiters=delimiters,
        system_prompt=system_prompt,
    )
    prompt = encode(tokenizer, text.prompt)
    return TokenizedExample(
        key=trace.question.id,
        input_ids=prompt + encode(tokenizer, text.completion),
        num_prompt_tokens=len(prompt),
        num_truncated_tokens=0,
    )


def _truncate(example: TokenizedExample, max_seq_len: int) -> TokenizedExample:
    num_truncated = len(example.input_ids) - max_seq_len
    if num_truncated <= 0:
        return example
    if example.num_prompt_tokens >= max_seq_len:
        raise ValueError(
            f"the prompt of question {example.key} has {example.num_prompt_tokens} tokens and "
            f"leaves nothing to learn within training.max_seq_len={max_seq_len}. Raise it, or set "
            "training.overflow=drop."
        )
    return TokenizedExample(
        key=example.key,
        input_ids=example.input_ids[:max_seq_len],
        num_prompt_tokens=example.num_prompt_tokens,
        num_truncated_tokens=num_truncated,
    )


def _describe_overflow(
    whole: Sequence[TokenizedExample], too_long: Sequence[TokenizedExample], max_seq_len: int
) -> str:
    longest = max(too_long, key=lambda example: len(example.input_ids))
    return (
        f"training.max_seq_len={max_seq_len} is too short for {len(too_long)} of {len(whole)} "
        f"traces ({len(too_long) / len(whole):.1%}); the longest, {longest.key}, has "
        f"{len(longest.input_ids)} tokens. Raise it, or set training.overflow to truncate or drop."
    )
