"""Samples, questions and points for tests, made from the few values a test cares about."""

from pathlib import Path
from typing import Any

from s1ray.config.evaluation import EvaluationRuntimeConfig
from s1ray.config.generation import Accounting
from s1ray.evaluation.points import Point, summarise
from s1ray.evaluation.samples import EvaluatedSample, SampleGroup, SampleTask, Score
from s1ray.evaluation.store import SampleStore
from s1ray.generation.budget import BudgetPolicy
from s1ray.records import (
    AnswerKind,
    Completion,
    GradedAnswer,
    Question,
    ThinkingEnd,
    Verdict,
)

R, W = Verdict.CORRECT, Verdict.INCORRECT
MODELS = {"digest": "trained"}


def make_runtime(**changes: Any) -> EvaluationRuntimeConfig:
    values = {
        "max_in_flight": 1,
        "max_attempts": 1,
        "retry_seconds": 0.0,
        "max_consecutive_failures": 1,
        "sync_rows": 1,
        "sync_seconds": 1.0,
    }
    return EvaluationRuntimeConfig.model_validate(values | changes)


def make_question(item: str) -> Question:
    return Question(
        id=item,
        text=f"What is {item}?",
        answer=f"gold {item}",
        answer_kind=AnswerKind.TEXT,
        source="test",
        domain=None,
        solution=None,
    )


def make_group(
    item: str, *, policies: tuple[str, ...] = ("p",), is_private: bool = False, sample: int = 0
) -> SampleGroup:
    return SampleGroup(
        benchmark="bench",
        question=make_question(item),
        is_private=is_private,
        sample=sample,
        seed=7,
        model="digest",
        policies=policies,
    )


def make_completion(
    *,
    thinking_ids: tuple[int, ...] = (1, 2, 3),
    answer_ids: tuple[int, ...] = (4,),
    is_answer_forced: bool = False,
) -> Completion:
    return Completion(
        thinking=" ".join(map(str, thinking_ids)),
        answer=" ".join(map(str, answer_ids)),
        thinking_ids=thinking_ids,
        answer_ids=answer_ids,
        wait_positions=(),
        num_waits_applied=0,
        num_generated_tokens=len(thinking_ids) + len(answer_ids) + 2,
        thinking_end=ThinkingEnd.MODEL,
        is_answer_forced=is_answer_forced,
        is_answer_complete=True,
    )


def think(num_tokens: int, *, is_forced: bool = False) -> Completion:
    return make_completion(thinking_ids=tuple(range(num_tokens)), is_answer_forced=is_forced)


def make_sample(
    item: str,
    verdict: Verdict = R,
    *,
    policy: str = "p",
    sample: int = 0,
    benchmark: str = "bench",
    model: str = "digest",
    extracted: str | None = "42",
    layer: str | None = None,
    completion: Completion | None = None,
) -> EvaluatedSample:
    return EvaluatedSample(
        task=SampleTask(
            benchmark=benchmark, item=item, sample=sample, policy=policy, model=model, seed=7
        ),
        question=f"What is {item}?",
        gold="42",
        completion=completion or make_completion(),
        graded=GradedAnswer(verdict=verdict, extracted=extracted, layer=layer),
    )


def make_samples(
    marks: str, *, policy: str = "p", item: str | None = None
) -> list[EvaluatedSample]:
    """Return one sample per mark, "R" for right and "W" for wrong.

    They are of the items 0, 1, 2, ..., or all of one item.
    """
    return [
        make_sample(
            item or f"{index:03}",
            R if mark == "R" else W,
            policy=policy,
            sample=index if item else 0,
        )
        for index, mark in enumerate(marks)
    ]


def make_score(item: str, verdict: Verdict = R, **values: Any) -> Score:
    """Return the score of a sample; values as ``make_sample`` takes them."""
    return make_sample(item, verdict, **values).score


def make_scores(marks: str, *, policy: str = "p", item: str | None = None) -> list[Score]:
    return [sample.score for sample in make_samples(marks, policy=policy, item=item)]


def make_policy(
    name: str, *, cap: int | None = None, waits: int = 0, minimum: int = 0
) -> BudgetPolicy:
    return BudgetPolicy(
        name=name,
        max_thinking_tokens=cap,
        num_waits=waits,
        wait_strings=("Wait",),
        min_thinking_tokens=minimum,
        answer_prefix="Final Answer:",
        max_answer_tokens=8,
        accounting=Accounting.TOTAL,
    )


def summarise_all(
    samples: list[Score],
    *policies: BudgetPolicy,
    models: dict[str, str] = MODELS,
    pass_at: tuple[int, ...] = (1,),
) -> list[Point]:
    return summarise(
        samples,
        policies=policies,
        models=models,
        quantiles=(0.5, 1.0),
        pass_at=pass_at,
    )


class Clock:
    """Stands still until a test sets it."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def open_store(
    path: Path, *, sync_rows: int = 1, sync_seconds: float = 1.0, clock: Clock | None = None
) -> SampleStore:
    return SampleStore(path, sync_rows=sync_rows, sync_seconds=sync_seconds, clock=clock or Clock())
