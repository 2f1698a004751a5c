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
    thinking_gap: str
    """What training text writes between ``thinking_start`` and the thinking."""
    thinking_stop: str
    """What ends thinking when the model writes it; the beginning of ``thinking_end``."""
    thinking_end: str
    """What stands between thinking and answer."""
    answer_separator: str
    """What follows ``thinking_end`` before the answer."""
    answer_label: str
    """What a training answer must contain, else it is put in front; empty for none."""
    step_start: str
    """What heads each step of thinking that counts its steps down; empty where none does."""


DELIMITERS = {
    "s1": Delimiters(
        thinking_start="<|im_start|>think",
        thinking_gap="\n",
        thinking_stop="<|im_start|>",
        thinking_end="<|im_start|>answer",
        answer_separator="\n",
        answer_label="Answer:",
        step_start="",
    ),
    "s1_steps": Delimiters(
        thinking_start="<|im_start|>",
        thinking_gap="",
        thinking_stop="<|im_start|>answer",
        thinking_end="<|im_start|>answer",
        answer_separator="\n",
        answer_label="Answer:",
        step_start="<|im_start|>",
    ),
    "think_tags": Delimiters(
        thinking_start="<think>",
        thinking_gap="\n",
        thinking_stop="</think>",
        thinking_end="</think>",
        answer_separator="\n\n",
        answer_label="",
        step_start="",
    ),
}
"""Presets: s1 (simplescaling/s1@77272c6 data/tokenization.py); s1_steps, its step-conditional form
(arXiv 2501.19393 figure 10), where ``<|im_start|>16 steps left`` opens thinking; the tags of R1,
QwQ and Qwen3."""


_CONTENT_TAGS = (("<think>", "</think>"), ("<thought>", "</thought>"))
"""How endpoints set thinking apart inside a message's content: R1 and its kin; Gemini."""


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
    steps_over: tuple[int, ...]
    """What announces that no step is left; empty where steps are not counted."""
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
    turns = [{"role": "user", "content": question}]
    return render_conversation(tokenizer, turns, system_prompt=system_prompt)


def render_conversation(
    tokenizer: Tokenizer, turns: Sequence[dict[str, str]], *, system_prompt: str | None
) -> str:
    """Return the prompt of a conversation up to where the assistant's next turn begins.

    Args:
        tokenizer: Carries the chat template.
        turns: With ``role`` and ``content``; earlier answers without their thinking.
        system_prompt: For conversations that bring none; None leaves it to the template.

    Raises:
        ValueError: The tokenizer has no chat template.
    """
    messages = list(turns)
    if system_prompt is not None and all(turn["role"] != "system" for turn in messages):
        messages.insert(0, {"role": "system", "content": system_prompt})
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            "the tokenizer has no chat template. Set model.source to an instruct model, whose "
            "tokenizer_config.json or chat_template.jinja has one."
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

    Args:
        tokenizer: Whose chat template opens and closes the turns.
        question: The user turn.
        thinking: Of the model's turn; white space at its ends is left out.
        answer: Given the preset's label where it lacks it.
        delimiters: Stand around the thinking.
        system_prompt: None for the template's own.

    Source: simplescaling/s1@77272c6 data/tokenization.py; the masked part ends where
    train/sft.py's response template does.
    """
    if delimiters.answer_label and delimiters.answer_label not in answer:
        answer = f"{delimiters.answer_label} {answer}"
    completion = (
        f"{delimiters.thinking_start}{delimiters.thinking_gap}{thinking.strip()}\n"
        f"{delimiters.thinking_end}{delimiters.answer_separator}{answer}"
        f"{render_turn_end(tokenizer)}"
    )
    prompt = render_prompt(tokenizer, question, system_prompt=system_prompt)
    return TrainingText(prompt=prompt, completion=completion)


def render_step_start(delimiters: Delimiters, *, steps_left: int) -> str:
    """Return the head of a step of thinking that counts its steps down.

    Raises:
        ValueError: The format has no such heads.
    """
    if not delimiters.step_start:
        raise ValueError(
            "this format does not count steps; use model.delimiters=s1_steps for step-conditional "
            "training and generation."
        )
    return f"{delimiters.step_start}{steps_left} steps left\n"


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
    return ThinkingTokens(
        start=encode(tokenizer, delimiters.thinking_start),
        stop=encode(tokenizer, delimiters.thinking_stop),
        end=encode(tokenizer, delimiters.thinking_end),
        separator=encode(tokenizer, delimiters.answer_separator),
        newline=encode(tokenizer, "\n"),
        steps_over=encode(tokenizer, f"{delimiters.step_start}0") if delimiters.step_start else (),
        turn_end=_read_turn_ends(tokenizer),
    )


def _read_turn_ends(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return the tokens any of which ends a turn: the template's and the tokenizer's own."""
    text = render_turn_end(tokenizer).strip()
    ids = encode(tokenizer, text)
    # Behind a special token (Phi-3's template writes two) there is nothing more to wait for.
    if len(ids) > 1 and not _is_special(tokenizer, ids[0]):
        raise ValueError(
            f"the chat template ends a turn with {text!r}, which this tokenizer spells in "
            f"{len(ids)} tokens; generation stops at one. Make {text!r} a special token, or "
            "end the template's turns with the tokenizer's eos_token."
        )
    turn_ends = [*ids[:1]]
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in turn_ends:
        turn_ends.append(tokenizer.eos_token_id)
    if not turn_ends:
        raise ValueError("the tokenizer names no end-of-turn token; set its eos_token.")
    return tuple(turn_ends)


def _is_special(tokenizer: Tokenizer, token_id: int) -> bool:
    return not tokenizer.decode(
        [token_id], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )


def split_thinking(content: str) -> tuple[str, str]:
    """Return thinking and answer of a message whose content may hold both.

    Templates that open the thinking themselves leave only its end in the content. Thinking that
    never ends was cut: there is no answer then.
    """
    begun = content.lstrip()
    for start, end in _CONTENT_TAGS:
        if begun.startswith(start) or end in begun:
            thinking, _, answer = begun.removeprefix(start).partition(end)
            return thinking, answer
    return "", content
