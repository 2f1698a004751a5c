"""Figures of accuracy against thinking tokens: any number of series, a panel for each benchmark.

It draws marks and returns figures; it reads and writes no file, and knows no page. Every colour is
one of ``PALETTE``, so that a page can exchange it for its own.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from s1ray.config.report import ReportFigureConfig
from s1ray.reporting.figures.artwork import PALETTE, SERIES, STYLE
from s1ray.reporting.reading.records import METHODS, Comparator
from s1ray.reporting.tables.formats import TIMES
from s1ray.reporting.tables.tables import order_models


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How the points of one method are drawn."""

    marker: str
    line: str
    """Empty where the points are not joined."""
    is_filled: bool


LOOKS = {
    "budget": Look(marker="o", line="-", is_filled=True),
    "wait": Look(marker="D", line="", is_filled=False),
    "vote": Look(marker="s", line="--", is_filled=True),
    "token": Look(marker="^", line=":", is_filled=False),
    "token_forced": Look(marker="^", line=":", is_filled=True),
    "step": Look(marker="v", line="-.", is_filled=False),
    "step_forced": Look(marker="v", line="-.", is_filled=True),
    "class": Look(marker="s", line="", is_filled=False),
    "reject": Look(marker="X", line="--", is_filled=True),
}
"""By method, in the order they are drawn."""
MAX_LABELLED_SERIES = 2
"""Beyond these, the numbers of Waits would overprint; the tables hold them."""
CHARACTERS_PER_INCH = 12
"""Of the legend; errs on the wide side."""
LEGEND_LINE_INCHES = 0.19
"""By which a figure grows for each further line of its legend, so that panels keep their height."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One accuracy and the thinking it took; shares are 0..1."""

    benchmark: str
    series: str
    """Marks of one series share a colour: a model, a data size, or a system that was published."""
    method: str
    """How thinking was scaled; a key of ``LOOKS``. A series' marks of one method are joined."""
    voters: str
    """The budget of the samples that voted: votes at different budgets are not joined. Empty where
    nobody voted."""
    policy: str
    """The budget's name; empty for what others published."""
    thinking_tokens: float
    """Mean over the questions."""
    accuracy: float
    stderr: float | None
    """None where it was not published."""
    num_waits: int
    is_published: bool
    """Whether others measured it."""


def plot_accuracy(
    marks: Sequence[Mark],
    *,
    comparators: Sequence[Comparator],
    confidence: float,
    shape: ReportFigureConfig,
) -> Figure:
    """Return accuracy against mean thinking tokens, a panel for each benchmark of ours.

    A series' budgets are joined inside their band of confidence; marks that are not joined carry
    it as a bar. What others published is grey.

    Args:
        marks: In any order.
        comparators: Published scores without thinking tokens: a line across the panel.
        confidence: Of bands and bars, such as 0.95, as of a normal distribution.
        shape: Of the figure and its panels.

    Raises:
        ValueError: No mark of ours is left to draw.
    """
    ours = [mark for mark in marks if not mark.is_published]
    if not ours:
        raise ValueError(
            "no point has an accuracy and thinking tokens. Grade the samples first, or leave the "
            "figure out."
        )
    benchmarks = sorted({mark.benchmark for mark in ours})
    colours = assign_colours([mark.series for mark in ours])
    width = NormalDist().inv_cdf((1 + confidence) / 2)
    with mpl.rc_context(STYLE):
        figure, panels = _lay_out(len(benchmarks), shape=shape)
        for panel, benchmark in zip(panels, benchmarks, strict=True):
            here = [mark for mark in marks if mark.benchmark == benchmark]
            _draw_marks(panel, here, colours=colours, width=width)
            _draw_comparators(panel, [score for score in comparators if _is_on(score, benchmark)])
            _dress_panel(panel, here, max_ticks=shape.max_ticks)
            panel.set_title(benchmark if len(benchmarks) > 1 else "")
        shown = [mark for mark in marks if mark.benchmark in benchmarks]
        num_lines = _add_legend(figure, shown, colours)
        figure.set_figheight(figure.get_figheight() + (num_lines - 1) * LEGEND_LINE_INCHES)
    return figure


def _lay_out(num_panels: int, *, shape: ReportFigureConfig) -> tuple[Figure, list[Axes]]:
    columns = min(shape.columns, num_panels)
    rows = -(-num_panels // columns)
    figure = Figure(figsize=(shape.width_inches, rows * shape.panel_inches))
    panels: list[Axes] = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for panel in panels[num_panels:]:
        panel.remove()
    return figure, panels[:num_panels]


def _is_on(score: Comparator, benchmark: str) -> bool:
    return score.benchmark == benchmark and score.is_drawn


def assign_colours(series: Iterable[str]) -> dict[str, str]:
    """Return a colour for each series, in the order of models; the first stays the base model's."""
    names = order_models(series)
    ordered = names if "base" in names else ("base", *names)
    return {name: PALETTE[SERIES[index % len(SERIES)]] for index, name in enumerate(ordered)}


def _draw_marks(
    panel: Axes, marks: Sequence[Mark], *, colours: Mapping[str, str], width: float
) -> None:
    has_labels = len(colours) <= MAX_LABELLED_SERIES
    published = dict.fromkeys(mark.series for mark in marks if mark.is_published)
    for series in (*published, *colours):
        colour = colours.get(series, PALETTE["muted"])
        of_series = [mark for mark in marks if mark.series == series]
        for method, look in LOOKS.items():
            of_method = [mark for mark in of_series if mark.method == method]
            for voters in dict.fromkeys(mark.voters for mark in of_method):
                line = sorted(
                    (mark for mark in of_method if mark.voters == voters),
                    key=lambda mark: mark.thinking_tokens,
                )
                _draw_line(panel, line, look=look, colour=colour, width=width)
        if has_labels:
            _label_waits(panel, [mark for mark in of_series if mark.num_waits], colour, width)


def _draw_line(panel: Axes, line: Sequence[Mark], *, look: Look, colour: str, width: float) -> None:
    """Draw the marks of one series and method with what is known of their confidence."""
    tokens = [mark.thinking_tokens for mark in line]
    shares = [100 * mark.accuracy for mark in line]
    lows, highs = zip(*(_bound(mark, width) for mark in line), strict=True)
    panel.plot(
        tokens,
        shares,
        color=colour,
        marker=look.marker,
        linestyle=look.line,
        linewidth=1.0 if line[0].is_published else 1.5,
        markersize=3.0 if line[0].is_published else 4.5,
        markerfacecolor=colour if look.is_filled else PALETTE["paper"],
    )
    if all(mark.stderr is None for mark in line):
        return
    if look.line and len(line) > 1:
        panel.fill_between(tokens, lows, highs, color=colour, alpha=0.14, linewidth=0)
    else:
        panel.vlines(tokens, lows, highs, color=colour, linewidth=0.9)


def _bound(mark: Mark, width: float) -> tuple[float, float]:
    """Return the ends of a mark's interval in percent, as far as accuracies go."""
    reach = width * (mark.stderr or 0)
    return 100 * max(0.0, mark.accuracy - reach), 100 * min(1.0, mark.accuracy + reach)


def _label_waits(panel: Axes, waits: Sequence[Mark], colour: str, width: float) -> None:
    """Write the number of Waits once at each place; Waits that changed nothing share a label."""
    places: dict[tuple[int, int], list[Mark]] = {}
    for mark in waits:
        size = round(4 * math.log2(1 + mark.thinking_tokens))
        places.setdefault((size, round(20 * mark.accuracy)), []).append(mark)
    for near in places.values():
        top = max(near, key=lambda mark: _bound(mark, width)[1])
        panel.annotate(
            TIMES + ", ".join(str(mark.num_waits) for mark in near),
            (top.thinking_tokens, _bound(top, width)[1]),
            (0, 4),
            textcoords="offset points",
            ha="center",
            color=colour,
            size=7.5,
        )


def _draw_comparators(panel: Axes, comparators: Sequence[Comparator]) -> None:
    for score in comparators:
        panel.axhline(100 * score.accuracy, color=PALETTE["muted"], linewidth=0.7, dashes=(1, 2))
        panel.annotate(
            score.system,
            (1, 100 * score.accuracy),
            (-2, 2),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            color=PALETTE["muted"],
            size=7.5,
        )


def _dress_panel(panel: Axes, marks: Sequence[Mark], *, max_ticks: int) -> None:
    tokens = [mark.thinking_tokens for mark in marks]
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


def _add_legend(figure: Figure, marks: Sequence[Mark], colours: Mapping[str, str]) -> int:
    """Name colours by series and marks by method, then what others published; return the lines."""
    ours = [mark for mark in marks if not mark.is_published]
    names = order_models(mark.series for mark in ours)
    handles = [Line2D([], [], color=colours[name], marker="o") for name in names]
    labels = list(names)
    present = {mark.method for mark in ours}
    keys = {method: METHODS[method] for method in LOOKS if method in present - {"budget"}}
    published = {
        mark.series: mark.method for mark in marks if mark.is_published and mark.method in LOOKS
    }
    for method, label in (
        *keys.items(),
        *((method, f"{series}, published") for series, method in published.items()),
    ):
        look = LOOKS[method]
        handle = Line2D([], [], color=PALETTE["muted"], marker=look.marker, ls=look.line)
        handle.set_markerfacecolor(PALETTE["muted"] if look.is_filled else PALETTE["paper"])
        handles.append(handle)
        labels.append(label)
    room = int(figure.get_figwidth() * CHARACTERS_PER_INCH / (max(map(len, labels)) + 5))
    columns = max(1, min(len(handles), room))
    figure.legend(handles, labels, loc="outside upper left", ncols=columns)
    return -(-len(handles) // columns)
