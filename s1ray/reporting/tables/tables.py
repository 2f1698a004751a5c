"""Tables of a report: one set of rows, read on a terminal and on a page alike.

It knows what the columns mean and their units. It knows no file and no page.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.table import Table as TerminalTable
from rich.text import Text

from s1ray.reporting.reading.records import METHODS, Benchmark, BudgetPoint, Comparator, WaitEffect
from s1ray.reporting.tables.formats import (
    format_count,
    format_number,
    format_percent,
    format_percent_error,
)

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column's head, unit included."""

    title: str
    is_number: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text in groups, which a line sets apart; the first column names the row."""

    title: str
    columns: tuple[Column, ...]
    groups: tuple[tuple[Row, ...], ...]
    note: str
    """What a reader must know to read it; empty for nothing."""


BUDGET_COLUMNS = (
    Column(title="budget", is_number=False),
    Column(title="model", is_number=False),
    Column(title="accuracy %", is_number=True),
    Column(title="thinking tokens", is_number=True),
    Column(title="n", is_number=True),
    Column(title="cap, tokens", is_number=True),
    Column(title="Waits", is_number=True),
    Column(title="answered %", is_number=True),
    Column(title="within cap %", is_number=True),
    Column(title="forced %", is_number=True),
)
BUDGET_NOTE = (
    "Accuracy with its standard error; thinking tokens are the mean, injected Waits included; "
    "forced: answers that a limit opened in the model's place."
)


def order_points(points: Iterable[BudgetPoint]) -> tuple[BudgetPoint, ...]:
    """Return points as a reader expects them: caps rising, natural end, Waits, other methods."""
    methods = list(METHODS)

    def rank(point: BudgetPoint) -> tuple[str, str, int, int, float]:
        cap = point.max_thinking_tokens
        size = float("inf") if cap is None else cap
        method = methods.index(point.method)
        return (point.benchmark, point.model, method, point.num_waits, size)

    return tuple(sorted(points, key=rank))


def order_models(names: Iterable[str]) -> tuple[str, ...]:
    """Return models in one fixed order: the base model first, others by name, numbers by size."""

    def rank(name: str) -> tuple[bool, list[tuple[int, str]]]:
        parts = re.split(r"(\d+)", name.replace(",", ""))
        return name != "base", [(int(part), "") if part.isdigit() else (0, part) for part in parts]

    return tuple(sorted(set(names), key=rank))


def build_budgets_table(points: Sequence[BudgetPoint], *, benchmark: str) -> Table:
    """Return the table of one benchmark's budgets, a group for each model."""
    ordered = [point for point in order_points(points) if point.benchmark == benchmark]
    groups = tuple(
        tuple(_budget_row(point) for point in ordered if point.model == model)
        for model in order_models(point.model for point in ordered)
    )
    return Table(title=benchmark, columns=BUDGET_COLUMNS, groups=groups, note=BUDGET_NOTE)


def _budget_row(point: BudgetPoint) -> Row:
    return (
        point.policy,
        point.model,
        format_percent_error(point.accuracy, point.stderr),
        format_number(point.thinking_tokens, digits=1),
        format_count(point.num_samples),
        format_count(point.max_thinking_tokens),
        str(point.num_waits),
        format_percent(point.answered),
        format_percent(point.control),
        format_percent(point.forced),
    )


def build_benchmarks_table(benchmarks: Sequence[Benchmark]) -> Table | None:
    """Return what each benchmark consists of and under which licence; None where none is told."""
    rows = tuple(
        (
            benchmark.name,
            format_count(benchmark.num_questions),
            benchmark.licence,
            "kept out of this page" if benchmark.is_private else "shown",
        )
        for benchmark in benchmarks
    )
    columns = (
        Column(title="benchmark", is_number=False),
        Column(title="questions", is_number=True),
        Column(title="licence", is_number=False),
        Column(title="text of its questions", is_number=False),
    )
    return Table(title="Benchmarks", columns=columns, groups=(rows,), note="") if rows else None


def build_scaling_table(scaling: Mapping[str, Mapping[str, float | None]]) -> Table:
    """Return s1's three metrics by benchmark and model.

    Source: arXiv 2501.19393 section 3.2; Scaling in percentage points a doubling of the mean
    thinking tokens, as its Table 3 computes it.
    """
    rows = tuple(
        (
            key.replace("/", ", "),
            format_percent(metrics.get("control")),
            format_number(metrics.get("scaling"), digits=1),
            format_percent(metrics.get("performance")),
        )
        for key, metrics in scaling.items()
    )
    columns = (
        Column(title="benchmark, model", is_number=False),
        Column(title="Control %", is_number=True),
        Column(title="Scaling, points a doubling", is_number=True),
        Column(title="Performance %", is_number=True),
    )
    note = (
        "As s1 defines them: Control, share of budgets whose mean thinking stays within the cap; "
        "Scaling, mean gain over all pairs of budgets; Performance, the best accuracy."
    )
    return Table(title="s1's metrics", columns=columns, groups=(rows,), note=note)


def build_waits_table(effects: Sequence[WaitEffect]) -> Table | None:
    """Return what each further Wait changed; None where there were no Waits."""
    series = dict.fromkeys(effect.series for effect in effects)
    groups = tuple(
        tuple(_wait_row(effect) for effect in effects if effect.series == name) for name in series
    )
    columns = (
        Column(title="benchmark, model", is_number=False),
        Column(title="from", is_number=False),
        Column(title="to", is_number=False),
        Column(title="n", is_number=True),
        Column(title="wrong to right", is_number=True),
        Column(title="right to wrong", is_number=True),
        Column(title="net", is_number=True),
    )
    note = "Verdicts of the same samples before and after more Waits."
    if not groups:
        return None
    return Table(title="What Waits change", columns=columns, groups=groups, note=note)


def _wait_row(effect: WaitEffect) -> Row:
    net = effect.wrong_to_right - effect.right_to_wrong
    return (
        effect.series.replace("/", ", "),
        effect.before,
        effect.after,
        format_count(effect.num_pairs),
        format_count(effect.wrong_to_right),
        format_count(effect.right_to_wrong),
        ("+" if net > 0 else "") + format_number(net, digits=0),
    )


def build_comparators_table(
    points: Sequence[BudgetPoint], comparators: Sequence[Comparator]
) -> Table | None:
    """Return the best of ours beside published scores; None where no benchmark is shared."""
    benchmarks = dict.fromkeys(point.benchmark for point in points)
    shared = [comparator for comparator in comparators if comparator.benchmark in benchmarks]
    scored = [point for point in points if point.accuracy is not None]
    best: dict[tuple[str, str], BudgetPoint] = {}
    for point in scored:
        series = (point.benchmark, point.model)
        if series not in best or (point.accuracy or 0) > (best[series].accuracy or 0):
            best[series] = point
    ours = tuple(
        (
            f"{point.model}, {point.policy}",
            point.benchmark,
            format_percent_error(point.accuracy, point.stderr),
            "this report, the best budget",
        )
        for point in best.values()
        if any(comparator.benchmark == point.benchmark for comparator in shared)
    )
    theirs = tuple(
        (other.system, other.benchmark, format_percent(other.accuracy), other.source)
        for other in shared
    )
    columns = (
        Column(title="system", is_number=False),
        Column(title="benchmark", is_number=False),
        Column(title="accuracy %", is_number=True),
        Column(title="source", is_number=False),
    )
    note = "Published scores are quoted as printed, not measured here."
    groups = (ours, theirs) if ours else (theirs,)
    if not theirs:
        return None
    return Table(title="Beside published scores", columns=columns, groups=groups, note=note)


def render_terminal(table: Table) -> TerminalTable:
    """Return a table for the terminal; heads wrap, so that no number is ever cut."""
    rendered = TerminalTable(
        title=Text(table.title),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
    )
    rows = [row for group in table.groups for row in group]
    for place, column in enumerate(table.columns):
        words = [*column.title.split(" "), *(row[place] for row in rows)]
        width = max(map(len, words)) if column.is_number or place == 0 else None
        justify: Literal["left", "right"] = "right" if column.is_number else "left"
        rendered.add_column(Text(column.title), justify=justify, width=width, overflow="fold")
    for group in table.groups:
        for row in group:
            rendered.add_row(*(Text(cell) for cell in row))
        rendered.add_section()
    return rendered
