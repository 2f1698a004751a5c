"""A teacher's replies become reasoning traces, or are left out for a named reason.

It knows a question, a reply and a verdict. Who asks, grades and pays is elsewhere.
"""

from dataclasses import dataclass

from s1ray.config.distillation import DistillationConfig
from s1ray.generation.budget import BudgetPolicy
from s1ray.generation.chat.chat_engine import ChatReply, ChatRequest, Message
from s1ray.generation.engine import Sampling
from s1ray.records import GradedAnswer, Question, ReasoningTrace, Verdict

_GRADES = {Verdict.CORRECT: True, Verdict.INCORRECT: False, Verdict.NO_ANSWER: False}
"""A time-out, a faulty gold answer and what was not scored say nothing of the teacher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A reply that is not trained on."""

    id: str
    reason: str


def ask_teacher(
    question: Question, *, policy: BudgetPolicy, sampling: Sampling, system_prompt: str | None
) -> ChatRequest:
    """Return the request for one question: the question alone, as s1 asks.

    Args:
        question: To be asked.
        policy: What is asked of the length of its thinking.
        sampling: How tokens are drawn.
        system_prompt: None for none.

    Source: simplescaling/s1 data/gemini.py.
    """
    system = [] if system_prompt is None else [Message(role="system", content=system_prompt)]
    user = Message(role="user", content=question.text + policy.instruction)
    return ChatRequest(messages=(*system, user), policy=policy, sampling=sampling)


def make_trace(
    question: Question,
    *,
    reply: ChatReply,
    graded: GradedAnswer,
    teacher: str,
    config: DistillationConfig,
) -> ReasoningTrace | LeftOut:
    """Return what a reply teaches, or why it is left out.

    Args:
        question: That was asked.
        reply: Of the teacher.
        graded: Its answer held against the gold answer.
        teacher: The model's name.
        config: Which replies are kept.
    """
    is_correct = _GRADES.get(graded.verdict)
    thinking, answer = _clean(reply.thinking), _clean(reply.answer)
    checks = {
        "no_thinking": not thinking,
        "no_answer": not answer,
        "cut": not reply.is_complete and not config.keep_cut,
        "incorrect": is_correct is False and not config.keep_incorrect,
        "unscored": is_correct is None and not config.keep_unscored,
    }
    for reason, applies in checks.items():
        if applies:
            return LeftOut(id=question.id, reason=reason)
    return ReasoningTrace(
        question=question,
        thinking=thinking,
        answer=answer,
        teacher=teacher,
        is_correct=is_correct,
    )


def _clean(text: str) -> str:
    """Return the text without white space at its ends, half surrogate pairs replaced."""
    return text.encode(errors="replace").decode().strip()
