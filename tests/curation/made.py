"""Pool items for tests."""

from s1ray.curation.items import PoolItem
from s1ray.curation.rows import hash_question
from s1ray.records import AnswerKind, Question, ReasoningTrace


def make_item(
    text: str,
    *,
    source: str = "src",
    domain: str | None = None,
    thinking: str = "so",
    level: float | None = None,
    is_correct: bool | None = None,
) -> PoolItem:
    """Return an item whose origin is its text."""
    question = Question(
        id=hash_question(text),
        text=text,
        answer="1",
        answer_kind=AnswerKind.TEXT,
        source=source,
        domain=domain,
        solution=None,
    )
    trace = ReasoningTrace(
        question=question, thinking=thinking, answer="1", teacher="T", is_correct=is_correct
    )
    return PoolItem(trace=trace, origin=f"{source}:{text}", level=level)
