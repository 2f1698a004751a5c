"""What a reader wants to know first: is the trained model better, and does thinking longer help.

It compares points of ``results.json``. It knows no page and draws no conclusion: every statement
is a difference with its standard error.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from s1ray.reporting.reading.records import BudgetPoint
from s1ray.reporting.tables.formats import (
    PLUS_MINUS,
    format_count,
    format_difference,
    format_percent,
    format_percent_error,
)
from s1ray.reporting.tables.tables import Column, Table, order_models, order_points

BASE = "base"


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One number and what it says."""

    experiment: str
    benchmark: str
    value: str
    """The difference in percentage points, signed."""
    error: str
    """Its standard error, with the sign in front; empty where it is not known."""
    statement: str
    detail: str
    """The two accuracies behind it."""


def build_headlines(points: Sequence[BudgetPoint], *, experiment: str) -> tuple[Headline, ...]:
    """Return the differences that matter, benchmark by benchmark; none where nothing is scored.

    Args:
        points: Of one experiment.
        experiment: Its name.
    """
    scored = [point for point in order_points(points) if point.accuracy is not None]
    headlines: list[Headline] = []
    for benchmark in dict.fromkeys(point.benchmark for point in scored):
        of_benchmark = [point for point in scored if point.benchmark == benchmark]
        for model in order_models(point.model for point in of_benchmark):
            if model != BASE:
                headlines += _compare_models(of_benchmark, model)
                headlines += _compare_budgets(of_benchmark, model)
                headlines += _compare_waits(of_benchmark, model)
    return tuple(replace(headline, experiment=experiment) for headline in headlines)


def build_headlines_table(headlines: Sequence[Headline]) -> Table:
    """Return many headlines as a table, a group for each benchmark of each experiment."""
    keys = dict.fromkeys((headline.experiment, headline.benchmark) for headline in headlines)
    groups = tuple(
        tuple(
            (
                f"{headline.value} {headline.error}".strip(),
                headline.statement,
                headline.detail,
                headline.benchmark,
                headline.experiment,
            )
            for headline in headlines
            if (headline.experiment, headline.benchmark) == key
        )
        for key in keys
    )
    columns = (
        Column(title="points", is_number=False),
        Column(title="difference", is_number=False),
        Column(title="accuracies", is_number=False),
        Column(title="benchmark", is_number=False),
        Column(title="experiment", is_number=False),
    )
    return Table(title="Differences", columns=columns, groups=groups, note="")


def select_budgets(points: Sequence[BudgetPoint], model: str) -> tuple[BudgetPoint, ...]:
    """Return a model's points without Waits, from the smallest budget to the largest.

    The natural end counts only where no cap was set at all: it is no budget.
    """
    plain = [point for point in points if point.model == model and point.method == "budget"]
    capped = [point for point in plain if point.max_thinking_tokens is not None]
    return tuple(capped or plain)


def _compare_models(points: Sequence[BudgetPoint], model: str) -> list[Headline]:
    base = {point.policy: point for point in points if point.model == BASE}
    shared = [
        point
        for point in points
        if point.model == model and point.method == "budget" and point.policy in base
    ]
    if not shared:
        return []
    last = shared[-1]
    return [
        _subtract(last, base[last.policy], f"{model} over {BASE} model, {describe_budget(last)}")
    ]


def _compare_budgets(points: Sequence[BudgetPoint], model: str) -> list[Headline]:
    budgets = select_budgets(points, model)
    if len(budgets) < 2:
        return []
    first, last = budgets[0], budgets[-1]
    statement = (
        f"{model} model, from a budget of {format_count(first.max_thinking_tokens)} to "
        f"{format_count(last.max_thinking_tokens)} thinking tokens"
    )
    return [_subtract(last, first, statement)]


def _compare_waits(points: Sequence[BudgetPoint], model: str) -> list[Headline]:
    of_model = [point for point in points if point.model == model]
    waits = [point for point in of_model if point.num_waits]
    if not waits:
        return []
    most = max(waits, key=lambda point: point.num_waits)
    plain = [
        point
        for point in of_model
        if point.method == "budget" and point.max_thinking_tokens == most.max_thinking_tokens
    ]
    if not plain:
        return []
    number = "one Wait" if most.num_waits == 1 else f"{most.num_waits} Waits"
    return [_subtract(most, plain[0], f"{model} model, {number} against none")]


def _subtract(point: BudgetPoint, other: BudgetPoint, statement: str) -> Headline:
    assert point.accuracy is not None and other.accuracy is not None
    error = ""
    if point.stderr is not None and other.stderr is not None:
        error = f"{PLUS_MINUS} {format_percent(math.hypot(point.stderr, other.stderr))}"
    return Headline(
        experiment="",
        benchmark=point.benchmark,
        value=format_difference(point.accuracy - other.accuracy),
        error=error,
        statement=statement,
        detail=(
            f"{format_percent_error(point.accuracy, point.stderr)} % against "
            f"{format_percent_error(other.accuracy, other.stderr)} %"
        ),
    )


def describe_budget(point: BudgetPoint) -> str:
    """Return a budget in words."""
    if point.max_thinking_tokens is None:
        return "thinking to its natural end"
    return f"at a budget of {format_count(point.max_thinking_tokens)} thinking tokens"
