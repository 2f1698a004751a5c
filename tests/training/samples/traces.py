"""Reasoning traces, made from the texts that a test cares about."""

from s1ray.records import AnswerKind, Question, ReasoningTrace


def make_trace(question: str, thinking: str, answer: str, key: str = "q") -> ReasoningTrace:
    return ReasoningTrace(
        question=Question(
            id=key,
            text=question,
            answer="",
            answer_kind=AnswerKind.MATH,
            source="test",
            domain=None,
            solution=None,
        ),
        thinking=thinking,
        answer=answer,
        teacher="test",
        is_correct=None,
    )
