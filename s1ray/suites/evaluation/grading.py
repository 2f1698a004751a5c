"""How many answers the grader takes a second, and what one that never ends costs the others."""

import time

from s1ray.config.suites.evaluation import EvaluationSettings
from s1ray.config.tracking import PathsConfig
from s1ray.grading.pool import GraderPool, GradingItem
from s1ray.records import AnswerKind, Verdict
from s1ray.suites.measuring.pairs import Side, Spread, compare_pairs, measure_in_turn
from s1ray.suites.suite import Outcome

POISON = GradingItem(text=r"\boxed{9^{9^9}}", gold=r"8^{8^8}+1", kind=AnswerKind.MATH)
"""Algebra alone does not come back from this comparison within minutes."""


def measure_grading(settings: EvaluationSettings, _: PathsConfig) -> Outcome:
    """Compare grading with and without a poisoned answer among the others.

    Raises:
        RuntimeError: A verdict is wrong, or the poisoned answer's is no time-out.
    """
    items = make_items(settings.num_graded)
    with GraderPool(settings.grading) as pool:
        sides: dict[str, Side] = {
            "clean": lambda: _grade(pool, items, poison=None),
            "poisoned": lambda: _grade(pool, items, poison=POISON),
        }
        _grade(pool, items, poison=None)
        seconds = measure_in_turn(sides, num_pairs=settings.num_pairs)
    rates = {
        name: Spread(values=tuple(len(items) / value for value in spread.values))
        for name, spread in seconds.items()
    }
    ratio = compare_pairs(rates["poisoned"], rates["clean"])
    return Outcome(
        summary=f"{rates['clean'].median:.0f} answers/s, beside a poisoned one "
        f"{rates['poisoned'].median:.0f} answers/s, ratio {ratio.median:.2f}",
        results={
            "num_workers": settings.grading.pool.num_workers,
            "deadline_seconds": settings.grading.pool.deadline_seconds,
            "answers_per_second": {name: rate.describe() for name, rate in rates.items()},
            "poisoned_over_clean": ratio.describe(),
        },
    )


def make_items(count: int) -> list[GradingItem]:
    """Return right answers: by turns an integer, a fraction, and a sum that needs algebra."""
    spellings = (
        (r"so it is \boxed{%d}", "%d", AnswerKind.INTEGER),
        (r"\boxed{\frac{%d}{7}}", r"\dfrac{%d}{7}", AnswerKind.MATH),
        (r"\boxed{\sqrt{2} + %d}", r"%d+\sqrt{2}", AnswerKind.MATH),
    )
    items = []
    for number in range(count):
        text, gold, kind = spellings[number % len(spellings)]
        items.append(GradingItem(text=text % number, gold=gold % number, kind=kind))
    return items


def _grade(pool: GraderPool, items: list[GradingItem], *, poison: GradingItem | None) -> float:
    """Return the seconds until every answer but the poisoned one has its verdict."""
    _warm_up(pool)
    began = time.perf_counter()
    poisoned = None if poison is None else pool.submit(poison)
    verdicts = [future.result().verdict for future in [pool.submit(item) for item in items]]
    seconds = time.perf_counter() - began
    if set(verdicts) != {Verdict.CORRECT}:
        raise RuntimeError(f"right answers were given {sorted(set(verdicts))}.")
    if poisoned is not None and poisoned.result().verdict is not Verdict.TIMEOUT:
        raise RuntimeError(f"the poisoned answer was given {poisoned.result().verdict}.")
    return seconds


def _warm_up(pool: GraderPool) -> None:
    """Return when every process of the pool is up: one that ended at a deadline starts again."""
    for future in [pool.submit(item) for item in make_items(60)]:
        future.result()
