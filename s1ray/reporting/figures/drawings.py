"""The figures of a page, each with its caption, its description in words and its files.

It turns records into marks and says what they show. It knows no page and writes no file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby

from s1ray.config.report import ReportConfig
from s1ray.reporting.figures.accuracy import Mark, assign_colours, plot_accuracy
from s1ray.reporting.figures.artwork import Drawing, make_drawing, write_csv
from s1ray.reporting.figures.training_curve import Curve, is_smoothed, plot_training
from s1ray.reporting.reading.records import (
    BudgetPoint,
    Comparator,
    PublishedPoint,
    Results,
)
from s1ray.reporting.tables.formats import format_number, format_percent
from s1ray.reporting.tables.tables import order_points

VOTE = "vote"


def draw_scaling(
    points: Sequence[BudgetPoint],
    *,
    published: Sequence[PublishedPoint],
    comparators: Sequence[Comparator],
    config: ReportConfig,
) -> Drawing | None:
    """Return accuracy against thinking tokens, a line for each model; None without a scored point.

    Args:
        points: Of any number of runs. What tells their lines apart is ``model``: a model's name,
            a data size, a seed.
        published: What others measured; budgets stand beside ours on the same benchmark, another
            method where we tried it too.
        comparators: Likewise, without thinking tokens.
        config: Shape of the figure, confidence of its bands.
    """
    ours = list_marks(points)
    if not ours:
        return None
    tried = {(mark.benchmark, method) for mark in ours for method in (mark.method, "budget")}
    others = [
        mark_published(point) for point in published if (point.benchmark, point.method) in tried
    ]
    return _draw_accuracy(
        [*ours, *others],
        comparators=comparators,
        name="scaling",
        title="Accuracy against thinking tokens",
        config=config,
    )


def draw_parallel(results: Results, *, config: ReportConfig) -> Drawing | None:
    """Return thinking longer beside thinking several times; None where no votes were counted.

    A vote of k samples costs k times the mean thinking of one, so both lie on one axis.
    """
    votes = list_votes(results)
    voting = {(mark.benchmark, mark.series) for mark in votes}
    alone = [mark for mark in list_marks(results.points) if (mark.benchmark, mark.series) in voting]
    if not votes:
        return None
    return _draw_accuracy(
        [*alone, *votes],
        comparators=(),
        name="parallel",
        title="Sequential against parallel: thinking tokens of all samples of a question",
        config=config,
    )


def list_marks(points: Iterable[BudgetPoint]) -> list[Mark]:
    """Return points as marks of their models, those without a place in the figure left out."""
    return [
        Mark(
            benchmark=point.benchmark,
            series=point.model,
            method=point.method,
            voters="",
            policy=point.policy,
            thinking_tokens=point.thinking_tokens,
            accuracy=point.accuracy,
            stderr=point.stderr,
            num_waits=point.num_waits,
            is_published=False,
        )
        for point in order_points(points)
        if point.accuracy is not None and point.thinking_tokens is not None
    ]


def mark_published(point: PublishedPoint) -> Mark:
    """Return what others measured as a mark."""
    return Mark(
        benchmark=point.benchmark,
        series=point.system,
        method=point.method,
        voters="",
        policy="",
        thinking_tokens=point.thinking_tokens,
        accuracy=point.accuracy,
        stderr=None,
        num_waits=0,
        is_published=True,
    )


def list_votes(results: Results) -> list[Mark]:
    """Return majority votes as marks at the thinking of all their samples."""
    thinking = {
        (f"{point.benchmark}/{point.model}", point.policy): point.thinking_tokens
        for point in results.points
    }
    marks = []
    for vote in results.votes:
        tokens = thinking.get((vote.series, vote.policy))
        if tokens is not None:
            benchmark, _, series = vote.series.partition("/")
            marks.append(
                Mark(
                    benchmark=benchmark,
                    series=series,
                    method=VOTE,
                    voters=vote.policy,
                    policy=f"{vote.policy}, {vote.size} samples",
                    thinking_tokens=vote.size * tokens,
                    accuracy=vote.majority,
                    stderr=vote.majority_stderr,
                    num_waits=0,
                    is_published=False,
                )
            )
    return marks


def _draw_accuracy(
    marks: Sequence[Mark],
    *,
    comparators: Sequence[Comparator],
    name: str,
    title: str,
    config: ReportConfig,
) -> Drawing:
    confidence = config.bootstrap.confidence
    wide, narrow = (
        plot_accuracy(marks, comparators=comparators, confidence=confidence, shape=shape)
        for shape in (config.wide, config.narrow)
    )
    return make_drawing(
        wide=wide,
        narrow=narrow,
        name=name,
        caption=caption_marks(marks, title=title, confidence=confidence),
        description=describe_marks(marks),
        numbers=write_csv([asdict(mark) for mark in marks]),
        dots_per_inch=config.dots_per_inch,
    )


def caption_marks(marks: Sequence[Mark], *, title: str, confidence: float) -> str:
    """Return what a figure's marks mean, as far as they are in it."""
    methods = {mark.method for mark in marks if not mark.is_published}
    kinds = [
        "Dots: budgets that cut thinking, and its natural end, joined in the order of tokens spent"
    ]
    if "wait" in methods:
        kinds.append("diamonds: its end put off by injected Waits, with their number")
    if VOTE in methods:
        kinds.append("squares: majority of several samples, at the sum of their thinking")
    if methods - {"budget", "wait", VOTE}:
        kinds.append("other marks: other methods")
    if any(mark.is_published for mark in marks):
        kinds.append("grey: published by others, not measured here")
    return (
        f"{title}. {'; '.join(kinds)}. Bands and bars: {100 * confidence:g} % confidence over the "
        "questions. The axis is logarithmic above its first mark."
    )


def describe_marks(marks: Sequence[Mark]) -> str:
    """Return the ends of every line of a figure in words."""
    ours = sorted(
        (mark for mark in marks if not mark.is_published and mark.method in ("budget", VOTE)),
        key=lambda mark: (*_name_line(mark), mark.thinking_tokens),
    )
    sentences = []
    for (benchmark, series, _, voters), group in groupby(ours, key=_name_line):
        line = list(group)
        ends = " to ".join(
            f"{format_percent(mark.accuracy)} % at {format_number(mark.thinking_tokens, digits=0)} "
            "tokens"
            for mark in dict.fromkeys((line[0], line[-1]))
        )
        votes = f", votes at {voters}" if voters else ""
        sentences.append(f"{benchmark}, {series}{votes}: {ends}.")
    return " ".join(sentences)


def _name_line(mark: Mark) -> tuple[str, str, str, str]:
    """Return what marks that are joined have in common."""
    return mark.benchmark, mark.series, mark.method, mark.voters


def draw_training(curves: Mapping[str, Curve], *, config: ReportConfig) -> Drawing | None:
    """Return the curves of all training runs in one figure; None where there are none.

    Args:
        curves: By what tells them apart: the names of their models, where they have one.
        config: Shape of the figure.
    """
    if not curves:
        return None
    colours = assign_colours(curves)
    wide, narrow = (
        plot_training(
            curves,
            colours=colours,
            smoothing_steps=config.smoothing_steps,
            width_inches=shape.width_inches,
            height_inches=shape.panel_inches,
        )
        for shape in (config.wide, config.narrow)
    )
    caption = "Training loss by optimizer step, and the learning rate."
    if any(is_smoothed(curve, config.smoothing_steps) for curve in curves.values()):
        caption += f" Thin: each step; bold: mean of {config.smoothing_steps} steps around it."
    return make_drawing(
        wide=wide,
        narrow=narrow,
        name="training",
        caption=caption,
        description=" ".join(describe_curve(label, curve) for label, curve in curves.items()),
        numbers=write_csv(
            [{"model": label, **asdict(step)} for label, curve in curves.items() for step in curve]
        ),
        dots_per_inch=config.dots_per_inch,
    )


def describe_curve(label: str, curve: Curve) -> str:
    """Return the ends of a training curve in words."""
    first, last = curve[0], curve[-1]
    return (
        f"{label}: loss {format_number(first.loss_nats, digits=3)} nats per token at step "
        f"{first.step}, {format_number(last.loss_nats, digits=3)} at {last.step}."
    )
