"""Pool items for tests."""

from collections.abc import Sequence
from typing import Any

from s1ray.curation.pool.items import PoolItem
from s1ray.curation.pool.rows import hash_question
from s1ray.records import AnswerKind, Question, ReasoningTrace
from tests.choices import read_choice
from tests.grading.settings import read_grading


def make_item(
    text: str,
    *,
    source: str = "src",
    domain: str | None = None,
    thinking: str = "so",
    level: float | None = None,
    is_correct: bool | None = None,
) -> PoolItem:
    """Return an item whose origin is its text; the pool and its question name one source."""
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
    return PoolItem(trace=trace, source=source, origin=f"{source}:{text}", level=level)


def ask_models(judges: Sequence[str], *, num_samples: int) -> dict[str, Any]:
    """Return the settings of a difficulty that models of the recipe judge."""
    return {
        "kind": "models",
        "judges": {name: {"kind": "recipe"} for name in judges},
        "budget": read_choice("budget", "no_thinking"),
        "sampling": {"temperature": 0.0, "top_p": 1.0, "top_k": 0},
        "grading": read_grading("layered"),
        "seed": 0,
        "num_samples": num_samples,
        "max_pass_rate": 0.0,
        "keep_unscored": True,
    }
