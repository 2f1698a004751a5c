"""The report: one self-contained page from run directories, and its figures as files beside it.

It draws, renders and writes what ``contents`` read. It knows no job, no tracker and no network.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from s1ray.config.report import ReportConfig
from s1ray.records import Verdict
from s1ray.reporting.artwork import DARK_PALETTE, PALETTE, Drawing, make_drawing, write_csv
from s1ray.reporting.contents import (
    Contents,
    describe_samples,
    list_facts,
    list_problems,
    read_contents,
)
from s1ray.reporting.figures import is_drawable, is_smoothed, plot_scaling, plot_training
from s1ray.reporting.formats import (
    format_number,
    format_percent,
)
from s1ray.reporting.headlines import build_headlines_table
from s1ray.reporting.packing import PackedSamples, pack_samples
from s1ray.reporting.records import BudgetPoint, Comparator
from s1ray.reporting.tables import (
    Table,
    build_budgets_table,
    build_comparators_table,
    build_cost_table,
    build_scaling_table,
    build_time_table,
    build_waits_table,
    order_models,
    order_points,
)

TEMPLATES = Path(__file__).parent
MAX_HEADLINES = 3
"""What still reads as headlines; more are a table."""
SECTIONS = (
    ("results", "Results"),
    ("budgets", "Budgets"),
    ("training", "Training"),
    ("data", "Training data"),
    ("samples", "Sample answers"),
    ("cost", "Time and cost"),
    ("reproduce", "How to reproduce"),
    ("configuration", "Configuration"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTables:
    """The tables of the page; None where there is nothing to show."""

    headlines: Table | None
    """None where the headlines are few enough to read as such."""
    budgets: tuple[Table, ...]
    scaling: Table | None
    waits: Table | None
    comparators: Table | None
    time: Table | None
    cost: Table | None


def build_report(
    run_dirs: Sequence[Path],
    *,
    comparators: Sequence[Comparator],
    output: Path,
    config: ReportConfig,
) -> Path:
    """Write the page of one or several runs, and its figures as png, pdf and csv beside it.

    Args:
        run_dirs: Of reproduce, evaluate, train or curate runs. What they lack, the page names.
        comparators: Published scores; those on other benchmarks are left out.
        output: The page's path; its folder is made where it is missing.
        config: How much the page holds.

    Returns:
        ``output``.

    Raises:
        ValueError: No directory is named, one is no run directory, or a file is malformed.
    """
    if not run_dirs:
        raise ValueError("no run directory is named. Name at least one, as a job prints it last.")
    contents = read_contents(run_dirs, config=config)
    scaling = draw_scaling(contents.results.points, config=config)
    training = draw_training(contents, config=config)
    page = render_page(
        contents, scaling=scaling, training=training, comparators=comparators, config=config
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    for drawing in (*([scaling] if scaling else []), *training):
        for file in drawing.files:
            (output.parent / file.name).write_bytes(file.content)
    output.write_text(page, encoding="utf-8", errors="replace")
    return output


def draw_scaling(points: Sequence[BudgetPoint], *, config: ReportConfig) -> Drawing | None:
    """Return accuracy against thinking tokens; None where no point is scored."""
    drawn = [point for point in order_points(points) if is_drawable(point)]
    if not drawn:
        return None
    wide, narrow = (
        plot_scaling(
            drawn,
            num_columns=shape.columns,
            width_inches=shape.width_inches,
            panel_inches=shape.panel_inches,
            max_ticks=shape.max_ticks,
        )
        for shape in (config.wide, config.narrow)
    )
    return make_drawing(
        wide=wide,
        narrow=narrow,
        name="scaling",
        caption=caption_scaling(drawn),
        description=describe_points(drawn),
        numbers=write_csv([asdict(point) for point in drawn]),
        dots_per_inch=config.dots_per_inch,
    )


def caption_scaling(points: Sequence[BudgetPoint]) -> str:
    """Return what the figure's marks mean, as far as they are in it."""
    methods = {point.method for point in points}
    marks = [
        "Dots: budgets that cut thinking, and its natural end, joined in the order of tokens spent"
    ]
    if "wait" in methods:
        marks.append("diamonds: its end put off by injected Waits, with their number")
    if methods - {"budget", "wait"}:
        marks.append("other marks: other methods")
    return (
        f"Accuracy against thinking tokens. {'; '.join(marks)}. Bars: one standard error. The axis "
        "is logarithmic above its first mark."
    )


def describe_points(points: Sequence[BudgetPoint]) -> str:
    """Return the ends of every line of the figure in words."""
    sentences = []
    for benchmark in dict.fromkeys(point.benchmark for point in points):
        for model in order_models(points):
            line = sorted(
                (point.thinking_tokens or 0, point.accuracy)
                for point in points
                if (point.benchmark, point.model, point.method) == (benchmark, model, "budget")
            )
            if line:
                ends = " to ".join(
                    f"{format_percent(accuracy)} % at {format_number(tokens, digits=0)} tokens"
                    for tokens, accuracy in dict.fromkeys((line[0], line[-1]))
                )
                sentences.append(f"{benchmark}, {model}: {ends}.")
    return " ".join(sentences)


def draw_training(contents: Contents, *, config: ReportConfig) -> tuple[Drawing, ...]:
    """Return the curves of every training run."""
    drawings = []
    for number, curve in enumerate(contents.curves, start=1):
        wide, narrow = (
            plot_training(
                curve,
                smoothing_steps=config.smoothing_steps,
                width_inches=shape.width_inches,
                height_inches=shape.panel_inches,
            )
            for shape in (config.wide, config.narrow)
        )
        first, last = curve[0], curve[-1]
        drawings.append(
            make_drawing(
                wide=wide,
                narrow=narrow,
                name="training" if number == 1 else f"training-{number}",
                caption="Training loss by optimizer step, and the learning rate."
                + (
                    f" Thin: each step; bold: mean of {config.smoothing_steps} steps around it."
                    if is_smoothed(curve, config.smoothing_steps)
                    else ""
                ),
                description=(
                    f"Loss {format_number(first.loss_nats, digits=3)} nats per token at step "
                    f"{first.step}, {format_number(last.loss_nats, digits=3)} at {last.step}."
                ),
                numbers=write_csv([asdict(step) for step in curve]),
                dots_per_inch=config.dots_per_inch,
            )
        )
    return tuple(drawings)


def pack_contents(contents: Contents, *, config: ReportConfig) -> PackedSamples | None:
    """Return the samples as the page carries them; None where there are none."""
    if not contents.samples.views:
        return None
    points = order_points(contents.results.points)
    return pack_samples(
        contents.samples.views,
        policies=list(dict.fromkeys(point.policy for point in points)),
        models=order_models(points),
        verdicts=list(Verdict),
        num_first=config.first_samples,
        rows_per_piece=config.samples_per_piece,
    )


def render_page(
    contents: Contents,
    *,
    scaling: Drawing | None,
    training: Sequence[Drawing],
    comparators: Sequence[Comparator],
    config: ReportConfig,
) -> str:
    """Return the page's text; its only script is named by its hash."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return environment.get_template("report.html.j2").render(
        contents=contents,
        facts=list_facts(contents),
        problems=list_problems(contents),
        sections=SECTIONS,
        colours=[(name, PALETTE[name], DARK_PALETTE[name]) for name in PALETTE],
        style=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=f"sha256-{digest}",
        scaling_figure=scaling,
        training_figures=training,
        tables=build_tables(contents, comparators=comparators),
        has_published=bool(comparators),
        samples=pack_contents(contents, config=config),
        samples_note=describe_samples(contents),
        num_first=config.first_samples,
        num_more=config.more_samples,
    )


def build_tables(contents: Contents, *, comparators: Sequence[Comparator]) -> PageTables:
    """Return the tables of the page; None where there is nothing to show."""
    results = contents.results
    benchmarks = sorted({point.benchmark for point in results.points})
    is_many = len(contents.headlines) > MAX_HEADLINES
    return PageTables(
        headlines=build_headlines_table(contents.headlines) if is_many else None,
        budgets=tuple(build_budgets_table(results.points, benchmark=name) for name in benchmarks),
        scaling=build_scaling_table(results.scaling) if results.scaling else None,
        waits=build_waits_table(results.waits),
        comparators=build_comparators_table(results.points, comparators),
        time=build_time_table(contents.experiments),
        cost=build_cost_table(results.cost),
    )
