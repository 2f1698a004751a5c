"""Asking for a length of thinking in the prompt, and training text that teaches to keep to it.

It knows how a limit is worded and how steps are counted down. It does not know budgets that are
enforced (``forcing``), delimiters (``chat_format``) or where training examples come from.

Source: arXiv 2501.19393 section 3.1 and figure 10; simplescaling/s1@77272c6
eval/lm-evaluation-harness/lm_eval/tasks/aime/utils.py (PROMPTTOKEN, PROMPTSTEP, PROMPTLONG,
PROMPTSHORT).
"""

from dataclasses import replace

from s1ray.chat_format import Delimiters, render_step_start
from s1ray.records import ReasoningTrace

STEP_BREAK = "\n\n"
"""What lies between two steps of a trace (arXiv 2501.19393 figure 10)."""
STEP_TOKENS = 100
"""Thinking tokens that a step stands for where Control is measured (arXiv 2501.19393 table 12)."""


def ask_for_tokens(limit: int) -> str:
    """Return what token-conditional control appends to the question."""
    return f"\n\nThink for up to {limit} tokens."


def ask_for_steps(limit: int) -> str:
    """Return what step-conditional control appends to the question."""
    return f"\n\nThink for up to {limit} steps."


def ask_for_class(text: str) -> str:
    """Return what class-conditional control appends to the question: its text, set apart."""
    return f"\n\n{text}"


def round_up_to_power_of_two(number: int) -> int:
    """Return the smallest power of two that is at least a positive number."""
    return 1 << (number - 1).bit_length()


def condition_on_tokens(trace: ReasoningTrace, *, num_thinking_tokens: int) -> ReasoningTrace:
    """Return a trace whose question asks for its thinking's length, rounded up to a power of two.

    Args:
        trace: To train on.
        num_thinking_tokens: Of its thinking, in the trained model's tokens.
    """
    limit = round_up_to_power_of_two(max(1, num_thinking_tokens))
    return _append_to_question(trace, ask_for_tokens(limit))


def condition_on_steps(trace: ReasoningTrace, *, delimiters: Delimiters) -> ReasoningTrace:
    r"""Return a trace whose question asks for its number of steps, and that counts them down.

    Steps are the parts between blank lines; the count begins at their number rounded up to a power
    of two, so that thinking ends before it reaches 0. The first head lacks what ``thinking_start``
    writes already.

    Args:
        trace: To train on.
        delimiters: Of a format with counted steps.

    Raises:
        ValueError: The format does not count steps.
    """
    steps = [step.strip() for step in trace.thinking.split(STEP_BREAK) if step.strip()]
    limit = round_up_to_power_of_two(max(1, len(steps)))
    thinking = "\n".join(
        render_step_start(delimiters, steps_left=limit - number) + step
        for number, step in enumerate(steps)
    )
    thinking = thinking.removeprefix(delimiters.thinking_start)
    return replace(_append_to_question(trace, ask_for_steps(limit)), thinking=thinking)


def _append_to_question(trace: ReasoningTrace, instruction: str) -> ReasoningTrace:
    question = replace(trace.question, text=trace.question.text + instruction)
    return replace(trace, question=question)
