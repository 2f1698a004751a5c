from dataclasses import replace

import pytest

from s1ray.config.distillation import DistillationConfig
from s1ray.curation.teacher import LeftOut, ask_teacher, make_trace
from s1ray.generation.chat.chat_engine import ChatReply
from s1ray.records import GradedAnswer, ReasoningTrace, Verdict
from tests.curation.made import make_item
from tests.generation.chat_requests import POLICY, REPLY
from tests.generation.scripted_engines import GREEDY

QUESTION = make_item("What is 1 + 1?").trace.question
KEEP_ALL = DistillationConfig(
    system_prompt=None,
    keep_incorrect=True,
    keep_unscored=True,
    keep_cut=True,
    seed=0,
    max_consecutive_failures=1,
)


def _make(
    reply: ChatReply,
    *,
    verdict: Verdict = Verdict.CORRECT,
    config: DistillationConfig = KEEP_ALL,
) -> ReasoningTrace | LeftOut:
    graded = GradedAnswer(verdict=verdict, extracted=None, layer=None)
    return make_trace(QUESTION, reply=reply, graded=graded, teacher="T", config=config)


@pytest.mark.parametrize(
    ("verdict", "grade"),
    [
        (Verdict.CORRECT, "True"),
        (Verdict.INCORRECT, "False"),
        (Verdict.NO_ANSWER, "False"),
        (Verdict.TIMEOUT, "None"),
        (Verdict.UNSCORED, "None"),
        (Verdict.GOLD_ERROR, "None"),
    ],
)
def test_a_trace_carries_its_teacher_and_its_grade(verdict: Verdict, grade: str) -> None:
    made = _make(replace(REPLY, thinking=" so "), verdict=verdict)

    assert isinstance(made, ReasoningTrace)
    assert (made.thinking, made.answer, made.teacher) == ("so", "2", "T")
    assert str(made.is_correct) == grade


@pytest.mark.parametrize(
    ("reason", "config", "reply", "verdict"),
    [
        ("no_thinking", {}, replace(REPLY, thinking=" \n"), Verdict.CORRECT),
        ("no_answer", {}, replace(REPLY, answer="", is_complete=False), Verdict.NO_ANSWER),
        ("cut", {"keep_cut": False}, replace(REPLY, is_complete=False), Verdict.CORRECT),
        ("incorrect", {"keep_incorrect": False}, REPLY, Verdict.NO_ANSWER),
        ("unscored", {"keep_unscored": False}, REPLY, Verdict.TIMEOUT),
    ],
)
def test_what_is_not_trained_on_has_a_reason(
    reason: str, config: dict[str, bool], reply: ChatReply, verdict: Verdict
) -> None:
    settings = KEEP_ALL.model_copy(update=config)

    made = _make(reply, verdict=verdict, config=settings)

    assert made == LeftOut(id=QUESTION.id, reason=reason)


def test_half_a_surrogate_pair_becomes_text_that_has_a_utf8_form() -> None:
    made = _make(REPLY)

    assert isinstance(made, ReasoningTrace)
    assert made.thinking.encode() == b"a ? b"


def test_a_teacher_is_asked_the_question_alone_or_after_a_system_prompt() -> None:
    alone = ask_teacher(QUESTION, policy=POLICY, sampling=GREEDY, system_prompt=None)
    led = ask_teacher(QUESTION, policy=POLICY, sampling=GREEDY, system_prompt="Be brief.")

    assert [(turn.role, turn.content) for turn in alone.messages] == [("user", QUESTION.text)]
    assert [turn.role for turn in led.messages] == ["system", "user"]
