"""Tables of a report: one set of rows, read on a terminal and on a page alike.

It knows what the columns mean and their units. It knows no file and no page.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich import box
from rich.table import Table as TerminalTable
from rich.text import Text

from s1ray.reporting.formats import (
    ABSENT,
    format_count,
    format_number,
    format_percent,
    format_percent_error,
    format_seconds,
    format_significant,
    spell_name,
)
from s1ray.reporting.records import METHODS, BudgetPoint, Comparator, Experiment, Run, WaitEffect

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


def order_models(points: Iterable[BudgetPoint]) -> tuple[str, ...]:
    """Return the models in one fixed order: the base model first, others by name."""
    return tuple(sorted({point.model for point in points}, key=lambda name: (name != "base", name)))


def build_budgets_table(points: Sequence[BudgetPoint], *, benchmark: str) -> Table:
    """Return the table of one benchmark's budgets, a group for each model."""
    ordered = [point for point in order_points(points) if point.benchmark == benchmark]
    groups = tuple(
        tuple(_budget_row(point) for point in ordered if point.model == model)
        for model in order_models(ordered)
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


def build_time_table(experiments: Sequence[Experiment]) -> Table | None:
    """Return the time of every step and their sum; None where no run says.

    A run of steps speaks for them; a step's own run is shown where it tells more.
    """
    runs = [
        run
        for experiment in experiments
        for run in experiment.runs
        if run is experiment.head or not experiment.head.seconds or len(run.seconds) > 1
    ]
    groups = tuple(_time_rows(run) for run in runs if run.seconds)
    columns = (
        Column(title="step", is_number=False),
        Column(title="time", is_number=True),
        Column(title="stage", is_number=False),
        Column(title="run", is_number=False),
    )
    return Table(title="Time", columns=columns, groups=groups, note="") if groups else None


def _time_rows(run: Run) -> tuple[Row, ...]:
    rows = [
        (spell_name(step), format_seconds(seconds), run.stage, run.name)
        for step, seconds in run.seconds.items()
    ]
    if len(rows) > 1:
        rows.append(("all", format_seconds(sum(run.seconds.values())), run.stage, run.name))
    return tuple(rows)


def build_cost_table(cost: Mapping[str, Any]) -> Table | None:
    """Return what ``results.json`` says of cost, a row for each number; None where it is silent."""
    rows = tuple(
        (spell_name(name), _format_cost(name, value)) for name, value in _flatten("", cost)
    )
    columns = (Column(title="cost", is_number=False), Column(title="value", is_number=True))
    return Table(title="Cost", columns=columns, groups=(rows,), note="") if rows else None


def _flatten(prefix: str, cost: Mapping[str, Any]) -> Iterable[tuple[str, float | str | None]]:
    for key, value in cost.items():
        name = f"{prefix}, {key}" if prefix else key
        if isinstance(value, Mapping):
            yield from _flatten(name, value)
        else:
            yield name, value


def _format_cost(name: str, value: float | str | None) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, bool | str):
        return str(value)
    return format_seconds(value) if name.endswith("seconds") else format_significant(value)


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
