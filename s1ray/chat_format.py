"""The only place that spells a delimiter: training text and prompts both come from here.

It knows how a turn with thinking is written and which token ids begin and end its parts. It does
not know models, engines or budgets; a tokenizer is anything that satisfies ``Tokenizer``, as
transformers' tokenizers do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that s1ray uses."""

    eos_token_id: int | None

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Return the token ids of a text."""
        ...

    def decode(
        self,
        token_ids: Sequence[int],
        *,
        skip_special_tokens: bool,
        clean_up_tokenization_spaces: bool,
    ) -> str:
        """Return the text of token ids."""
        ...

    def apply_chat_template(
        self,
        conversation: list[dict[str, str]],
        *,
        tokenize: bool,
        add_generation_prompt: bool,
        **variables: Any,  # noqa: ANN401 - template variables, as transformers types them
    ) -> Any:  # noqa: ANN401 - str for tokenize=False; transformers types every overload at once
        """Return the conversation as text."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Delimiters:
    """How thinking is set apart inside an assistant turn."""

    thinking_start: str
    thinking_stop: str
    """What ends thinking when the model writes it; the beginning of ``thinking_end``."""
    thinking_end: str
    """What stands between thinking and answer."""
    answer_separator: str
    """What follows ``thinking_end`` before the answer."""
    answer_label: str
    """What a training answer must contain, else it is put in front; empty for none."""


DELIMITERS = {
    "s1": Delimiters(
        thinking_start="<|im_start|>think",
        thinking_stop="<|im_start|>",
        thinking_end="<|im_start|>answer",
        answer_separator="\n",
        answer_label="Answer:",
    ),
    "think_tags": Delimiters(
        thinking_start="<think>",
        thinking_stop="</think>",
        thinking_end="</think>",
        answer_separator="\n\n",
        answer_label="",
    ),
}
"""Presets: s1 (simplescaling/s1@77272c6 data/tokenization.py) and the tags of R1, QwQ and Qwen3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingText:
    """One training sample as text; the loss falls on ``completion`` alone."""

    prompt: str
    completion: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingTokens:
    """The delimiters of one tokenizer as token ids."""

    start: tuple[int, ...]
    stop: tuple[int, ...]
    """Ends thinking when generated; one token in s1's format, several where the tags are text."""
    end: tuple[int, ...]
    separator: tuple[int, ...]
    newline: tuple[int, ...]
    turn_end: tuple[int, ...]
    """Single tokens that end the assistant's turn: the template's and the tokenizer's."""


def render_prompt(tokenizer: Tokenizer, question: str, *, system_prompt: str | None) -> str:
    """Return the chat prompt up to where the assistant's turn begins.

    Args:
        tokenizer: Carries the chat template.
        question: The user turn, complete.
        system_prompt: None leaves the template's own default in place, as s1 does.

    Raises:
        ValueError: The tokenizer has no chat template.
    """
    messages = [] if system_prompt is None else [{"role": "system", "content": system_prompt}]
    messages.append({"role": "user", "content": question})
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            "the tokenizer has no chat template. Use an instruct model's tokenizer, or set "
            "model.tokenizer to one that has a chat_template in its tokenizer_config.json."
        )
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def render_turn_end(tokenizer: Tokenizer) -> str:
    r"""Return what the chat template writes after an assistant's words, such as "<|im_end|>\n"."""
    words = "assistant words"
    text = str(
        tokenizer.apply_chat_template(
            [{"role": "user", "content": "x"}, {"role": "assistant", "content": words}],
            tokenize=False,
            add_generation_prompt=False,
        )
    )
    return text[text.rindex(words) + len(words) :]


def render_training_text(
    tokenizer: Tokenizer,
    *,
    question: str,
    thinking: str,
    answer: str,
    delimiters: Delimiters,
    system_prompt: str | None,
) -> TrainingText:
    """Return a sample as s1 trains on it.

    Source: simplescaling/s1@77272c6 data/tokenization.py; the masked part ends where
    train/sft.py's response template does.
    """
    if delimiters.answer_label and delimiters.answer_label not in answer:
        answer = f"{delimiters.answer_label} {answer}"
    completion = (
        f"{delimiters.thinking_start}\n{thinking.strip()}\n"
        f"{delimiters.thinking_end}{delimiters.answer_separator}{answer}"
        f"{render_turn_end(tokenizer)}"
    )
    prompt = render_prompt(tokenizer, question, system_prompt=system_prompt)
    return TrainingText(prompt=prompt, completion=completion)


def encode(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    """Return the ids of a text, nothing added."""
    return tuple(tokenizer.encode(text, add_special_tokens=False))


def decode(tokenizer: Tokenizer, token_ids: Sequence[int]) -> str:
    """Return the exact text of token ids: special tokens kept, spaces untouched."""
    return tokenizer.decode(
        list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
    )


def read_thinking_tokens(tokenizer: Tokenizer, delimiters: Delimiters) -> ThinkingTokens:
    """Return the delimiters of a preset as this tokenizer's ids.

    Raises:
        ValueError: The tokenizer cannot spell a delimiter, or has no end-of-turn token.
    """
    for text in (delimiters.thinking_start, delimiters.thinking_end):
        if decode(tokenizer, encode(tokenizer, text)) != text:
            raise ValueError(
                f"the tokenizer does not spell the delimiter {text!r}. Choose another "
                f"model.delimiters (one of {', '.join(sorted(DELIMITERS))}) or another tokenizer."
            )
    turn_end = encode(tokenizer, render_turn_end(tokenizer).strip())
    turn_ends = [*turn_end[:1]]
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in turn_ends:
        turn_ends.append(tokenizer.eos_token_id)
    if not turn_ends:
        raise ValueError("the tokenizer names no end-of-turn token; set its eos_token.")
    return ThinkingTokens(
        start=encode(tokenizer, delimiters.thinking_start),
        stop=encode(tokenizer, delimiters.thinking_stop),
        end=encode(tokenizer, delimiters.thinking_end),
        separator=encode(tokenizer, delimiters.answer_separator),
        newline=encode(tokenizer, "\n"),
        turn_end=tuple(turn_ends),
    )
