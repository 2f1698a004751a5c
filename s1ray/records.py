"""The nouns that walk through the house, from pool row to graded answer; frozen and torch-free.

This module knows no file format, no tokenizer and no model; it only names what the layers hand to
one another.
"""

from dataclasses import dataclass
from enum import StrEnum


class AnswerKind(StrEnum):
    """How two answers of a question are compared."""

    INTEGER = "integer"
    MATH = "math"
    LETTER = "letter"
    TEXT = "text"


class Verdict(StrEnum):
    """What a grader says of one answer; unscored, unparsed and out of time each have their own."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    NO_ANSWER = "no_answer"
    TIMEOUT = "timeout"
    GOLD_ERROR = "gold_error"
    UNSCORED = "unscored"


class ThinkingEnd(StrEnum):
    """Why thinking ended."""

    MODEL = "model"
    """The model wrote the end-of-thinking delimiter."""
    END_TOKEN = "end_token"
    """The model ended its whole turn without answering."""
    CAP = "cap"
    """The budget was used up."""
    CONTEXT = "context"
    """The context window was full before the budget was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question of a pool or a benchmark."""

    id: str
    """First 16 hex digits of sha256 of the text (s1: data/featurization.py), or the benchmark's."""
    text: str
    answer: str
    """The gold answer, as the source spells it."""
    answer_kind: AnswerKind
    source: str
    domain: str | None
    solution: str | None
    """The source's worked solution, where it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningTrace:
    """A question with somebody's thinking and answer: what a model is trained on."""

    question: Question
    thinking: str
    answer: str
    """The attempt that follows the thinking; not necessarily right."""
    teacher: str
    """Who thought: a model's name, or the generator's."""
    is_correct: bool | None
    """Whether the attempt equals the gold answer; None where nobody graded it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedExample:
    """One training text as token ids."""

    key: str
    """The question's id."""
    input_ids: tuple[int, ...]
    num_prompt_tokens: int
    """Leading tokens that carry no loss."""
    num_truncated_tokens: int
    """Tokens cut from the end to fit the block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMetrics:
    """What one optimizer step reports; every rank holds the same values."""

    step: int
    """1 for the first step of the run, across resumes."""
    samples_consumed: int
    epoch: float
    """Epochs done after this step."""
    loss_nats: float
    """The step's loss as weighted by ``loss_weighting``, nats per token."""
    grad_norm: float
    learning_rate: float
    num_tokens: int
    num_supervised_tokens: int
    padding_fraction: float
    """Of all tokens computed in the step, those that only fill up rows."""
    balance_efficiency: float
    """Mean over maximum of the ranks' token counts in this step."""
    seconds: float
    tokens_per_second: float
    flops: float
    """Model FLOPs of the step, all ranks: matrix products of the parameters that multiply (no input
    embedding) and causal attention at half its square. Backward is twice forward, once for the
    product of a frozen weight; no recompute."""
    peak_memory_gib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRef:
    """A checkpoint that exists: its manifest has been written."""

    path: str
    step: int
    samples_consumed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One chain of thinking and its answer, with what happened on the way.

    Texts are decoded once from the ids: ``thinking == decode(thinking_ids)`` and
    ``answer == decode(answer_ids)``.
    """

    thinking: str
    answer: str
    thinking_ids: tuple[int, ...]
    """Generated and injected thinking tokens, delimiters excluded."""
    answer_ids: tuple[int, ...]
    """The forced prefix, where there is one, and the generated answer; stop tokens excluded."""
    wait_positions: tuple[int, ...]
    """Where in ``thinking_ids`` each injected wait string begins."""
    num_waits_applied: int
    num_generated_tokens: int
    """Tokens the model produced, thinking and answer, stop tokens included."""
    thinking_end: ThinkingEnd
    is_answer_forced: bool
    """Whether the answer prefix was injected because a limit ended thinking."""
    is_answer_complete: bool
    """Whether the answer ended by itself, rather than at its token limit."""

    @property
    def num_thinking_tokens(self) -> int:
        """Thinking tokens, injected wait tokens included."""
        return len(self.thinking_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class GradedAnswer:
    """A completion's answer held against the gold answer."""

    verdict: Verdict
    extracted: str | None
    """What was taken from the text as the answer; None where nothing was found."""
    layer: str | None
    """Which comparison decided: integer, number (other plain numbers), string, math_verify, letter,
    judge, judge_refused (incorrect, for the judge refuses to compare); None where nothing was
    compared to the end."""
