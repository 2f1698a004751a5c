"""Figures of a report: accuracy against thinking tokens, and the training curves.

It draws records and returns figures; it reads and writes no file, and knows no page. Every colour
is one of ``PALETTE``, so that a page can exchange it for its own.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from s1ray.reporting.artwork import PALETTE, SERIES, STYLE
from s1ray.reporting.formats import TIMES
from s1ray.reporting.records import METHODS, BudgetPoint, TrainingStep
from s1ray.reporting.tables import order_models, order_points


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How the points of one method are drawn."""

    marker: str
    line: str
    is_filled: bool


LOOKS = {
    "budget": Look(marker="o", line="-", is_filled=True),
    "wait": Look(marker="D", line="", is_filled=False),
    "token": Look(marker="^", line=":", is_filled=False),
    "token_forced": Look(marker="^", line=":", is_filled=True),
    "step": Look(marker="v", line="-.", is_filled=False),
    "step_forced": Look(marker="v", line="-.", is_filled=True),
    "class": Look(marker="s", line="", is_filled=False),
    "reject": Look(marker="X", line="--", is_filled=True),
}
"""By method, in the order they are drawn."""
MAX_LABELLED_MODELS = 2
"""Beyond these, the numbers of Waits would overprint; the tables hold them."""
CHARACTERS_PER_INCH = 12
"""Of the legend; errs on the wide side."""


def plot_scaling(
    points: Sequence[BudgetPoint],
    *,
    num_columns: int,
    width_inches: float,
    panel_inches: float,
    max_ticks: int,
) -> Figure:
    """Return accuracy against mean thinking tokens, a panel for each benchmark.

    A model's budgets are joined; its Waits stand alone as open diamonds; other methods have marks
    of their own. Bars are one standard error.

    Args:
        points: Unscored ones are left out.
        num_columns: Panels side by side.
        width_inches: Of the figure.
        panel_inches: Height of a panel.
        max_ticks: Labels on the axis of tokens.

    Raises:
        ValueError: No point has both an accuracy and thinking tokens.
    """
    drawn = _select_drawable(points)
    benchmarks = list(dict.fromkeys(point.benchmark for point in drawn))
    models = order_models(drawn)
    colours = assign_colours(models)
    columns = min(num_columns, len(benchmarks))
    rows = -(-len(benchmarks) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width_inches, rows * panel_inches))
        panels = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
        for panel, benchmark in zip(panels, benchmarks, strict=False):
            here = [point for point in drawn if point.benchmark == benchmark]
            for model in models:
                of_model = [point for point in here if point.model == model]
                has_labels = len(models) <= MAX_LABELLED_MODELS
                _draw_model(panel, of_model, colour=colours[model], has_labels=has_labels)
            _dress_panel(panel, here, max_ticks=max_ticks)
            panel.set_title(benchmark if len(benchmarks) > 1 else "")
        for panel in panels[len(benchmarks) :]:
            panel.remove()
        _add_legend(figure, drawn, colours)
    return figure


def is_drawable(point: BudgetPoint) -> bool:
    """Return whether a point has a place in the figure."""
    return point.accuracy is not None and point.thinking_tokens is not None


def assign_colours(models: Sequence[str]) -> dict[str, str]:
    """Return a colour for each model, in the models' order."""
    return {
        model: PALETTE[SERIES[index % len(SERIES)]]
        for index, model in enumerate(models if "base" in models else ("base", *models))
    }


def _select_drawable(points: Sequence[BudgetPoint]) -> list[BudgetPoint]:
    drawn = [point for point in order_points(points) if is_drawable(point)]
    if not drawn:
        raise ValueError(
            f"none of {len(points)} points has an accuracy and thinking tokens. Grade the samples "
            "first, or leave the figure out."
        )
    return drawn


def _draw_model(
    panel: Axes, points: Sequence[BudgetPoint], *, colour: str, has_labels: bool
) -> None:
    for method, look in LOOKS.items():
        line = sorted(
            (point for point in points if point.method == method),
            key=lambda point: point.thinking_tokens or 0,
        )
        if line:
            panel.errorbar(
                [point.thinking_tokens or 0 for point in line],
                [100 * (point.accuracy or 0) for point in line],
                yerr=[100 * (point.stderr or 0) for point in line],
                color=colour,
                elinewidth=0.9,
                capsize=2,
                capthick=0.9,
                marker=look.marker,
                linestyle=look.line,
                markerfacecolor=colour if look.is_filled else PALETTE["paper"],
            )
    if has_labels:
        _label_waits(panel, [point for point in points if point.num_waits], colour)


def _label_waits(panel: Axes, waits: Sequence[BudgetPoint], colour: str) -> None:
    """Write the number of Waits once at each place; Waits that changed nothing share a label."""
    places: dict[tuple[int, int], list[BudgetPoint]] = {}
    for point in waits:
        size = round(4 * math.log2(1 + (point.thinking_tokens or 0)))
        places.setdefault((size, round(20 * (point.accuracy or 0))), []).append(point)
    for near in places.values():
        top = max(near, key=lambda point: (point.accuracy or 0) + (point.stderr or 0))
        panel.annotate(
            TIMES + ", ".join(str(point.num_waits) for point in near),
            (top.thinking_tokens or 0, 100 * ((top.accuracy or 0) + (top.stderr or 0))),
            (0, 4),
            textcoords="offset points",
            ha="center",
            color=colour,
            size=7.5,
        )


def _dress_panel(
    panel: Axes,
    points: Sequence[BudgetPoint],
    *,
    max_ticks: int,
) -> None:
    tokens = [point.thinking_tokens or 0 for point in points]
    ticks = place_ticks(tokens, max_ticks=max_ticks)
    positive = [tick for tick in ticks if tick > 0]
    if positive:
        panel.set_xscale("symlog", base=2, linthresh=positive[0], linscale=0.6)
        margin = 2**0.25
        panel.set_xlim(-positive[0] / 6 if 0 in ticks else positive[0] / margin, None)
        panel.set_xlim(None, max(*tokens, positive[-1]) * margin)
        panel.xaxis.set_major_locator(FixedLocator(ticks))
        panel.xaxis.set_major_formatter(FixedFormatter([f"{tick:,}" for tick in ticks]))
        panel.xaxis.set_minor_locator(NullLocator())
    top = 1.12 * max(panel.get_ylim()[1], 10)
    panel.set_ylim(-0.02 * top, top)  # room for the marks of a model that is never right
    panel.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    panel.set_xlabel("thinking tokens (mean)")
    panel.set_ylabel("accuracy (%)")


def place_ticks(tokens: Sequence[float], *, max_ticks: int) -> list[int]:
    """Return powers of two that span the token counts, 0 where one lies below the smallest."""
    positive = [count for count in tokens if count >= 1]
    if not positive:
        return [0]
    low, high = math.floor(math.log2(min(positive))), math.ceil(math.log2(max(positive)))
    has_zero = min(tokens) < 1
    stride = max(1, math.ceil((high - low + 1) / max(max_ticks - has_zero, 1)))
    return [0] * has_zero + [2**exponent for exponent in range(low, high + 1, stride)]


def _add_legend(figure: Figure, points: Sequence[BudgetPoint], colours: Mapping[str, str]) -> None:
    """Name the colours by model, and every mark but the plain budgets' by method."""
    handles = [Line2D([], [], color=colours[model], marker="o") for model in order_models(points)]
    labels = list(order_models(points))
    present = {point.method for point in points}
    for method, look in LOOKS.items():
        if method in present and method != "budget":
            face = PALETTE["muted"] if look.is_filled else PALETTE["paper"]
            mark = Line2D([], [], color=PALETTE["muted"], marker=look.marker, ls=look.line)
            mark.set_markerfacecolor(face)
            handles.append(mark)
            labels.append(METHODS[method])
    room = int(figure.get_figwidth() * CHARACTERS_PER_INCH / (max(map(len, labels)) + 5))
    columns = max(1, min(len(handles), room))
    figure.legend(handles, labels, loc="outside upper left", ncols=columns)


def plot_training(
    steps: Sequence[TrainingStep],
    *,
    smoothing_steps: int,
    width_inches: float,
    height_inches: float,
) -> Figure:
    """Return the training loss by step and, where it was recorded, the learning rate below it.

    Args:
        steps: In order.
        smoothing_steps: Window of the running mean; a shorter run is drawn as it is.
        width_inches: Of the figure.
        height_inches: Of the figure.

    Raises:
        ValueError: There are no steps.
    """
    if not steps:
        raise ValueError("there are no training steps to draw. Train first, or leave it out.")
    numbers = [step.step for step in steps]
    losses = [step.loss_nats for step in steps]
    rates = [(step.step, step.learning_rate) for step in steps if step.learning_rate is not None]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width_inches, height_inches))
        heights = [3, 1] if rates else [1]
        grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)
        panels = grid.flatten()
        colour, is_long = PALETTE[SERIES[1]], is_smoothed(steps, smoothing_steps)
        if is_long:
            panels[0].plot(numbers, losses, color=colour, lw=0.8, alpha=0.4)
            losses = average(losses, window=smoothing_steps)
        panels[0].plot(numbers, losses, color=colour)
        panels[0].set_ylim(0, None)
        panels[0].set_ylabel("loss (nats per token)")
        if rates:
            _draw_rates(panels[1], rates)
        panels[-1].set_xlabel("optimizer step")
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    return figure


def _draw_rates(panel: Axes, rates: Sequence[tuple[int, float]]) -> None:
    panel.plot(*zip(*rates, strict=True), color=PALETTE["muted"], lw=1)
    panel.set_ylim(0, None)
    panel.set_ylabel("learning rate")
    panel.yaxis.set_major_locator(MaxNLocator(nbins=2))


def is_smoothed(steps: Sequence[TrainingStep], smoothing_steps: int) -> bool:
    """Return whether a run is long enough for a running mean over so many steps."""
    return len(steps) > 2 * smoothing_steps


def average(values: Sequence[float], *, window: int) -> list[float]:
    """Return the mean of the ``window`` values around each place, of fewer at the ends."""
    sums = [0.0, *accumulate(values)]
    means = []
    for index in range(len(values)):
        start = max(0, index - window // 2)
        stop = min(len(values), index - window // 2 + window)
        means.append((sums[stop] - sums[start]) / (stop - start))
    return means
