import pytest

from s1ray.chat_format import DELIMITERS, render_training_text
from s1ray.generation.conditioning import (
    condition_on_steps,
    condition_on_tokens,
    round_up_to_power_of_two,
)
from s1ray.records import AnswerKind, Question, ReasoningTrace
from tests.generation.scripted_engines import ToyTokenizer


def make_trace(thinking: str) -> ReasoningTrace:
    question = Question(
        id="q",
        text="c",
        answer="1",
        answer_kind=AnswerKind.INTEGER,
        source="made",
        domain=None,
        solution=None,
    )
    return ReasoningTrace(
        question=question, thinking=thinking, answer="Answer: d", teacher="made", is_correct=None
    )


@pytest.mark.parametrize(
    ("number", "rounded"), [(1, 1), (2, 2), (3, 4), (1024, 1024), (1025, 2048), (7939, 8192)]
)
def test_limit_is_the_next_power_of_two(number: int, rounded: int) -> None:
    assert round_up_to_power_of_two(number) == rounded


def test_token_condition_changes_the_question_alone() -> None:
    trace = make_trace("ab")
    made = condition_on_tokens(trace, num_thinking_tokens=1500)
    assert made.question.text == "c\n\nThink for up to 2048 tokens."
    assert (made.thinking, made.question.id) == ("ab", "q")


def test_step_condition_counts_down_from_the_limit_in_training_text() -> None:
    made = condition_on_steps(make_trace("a\n\nb\nb\n\n\n\nc\n"), delimiters=DELIMITERS["s1_steps"])
    assert made.question.text == "c\n\nThink for up to 4 steps."
    text = render_training_text(
        ToyTokenizer(),
        question="c",
        thinking=made.thinking,
        answer=made.answer,
        delimiters=DELIMITERS["s1_steps"],
        system_prompt=None,
    )
    assert text.completion == (
        "<|im_start|>4 steps left\na\n"
        "<|im_start|>3 steps left\nb\nb\n"
        "<|im_start|>2 steps left\nc\n"
        "<|im_start|>answer\nAnswer: d<|im_end|>"
    )


def test_step_condition_in_a_format_without_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="this format does not count steps"):
        condition_on_steps(make_trace("a"), delimiters=DELIMITERS["s1"])
