"""The report: one self-contained page from run directories, and its figures as files beside it.

It draws, renders and writes what ``contents`` read. It knows no job, no tracker and no network.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from s1ray.config.report import ReportConfig
from s1ray.records import Verdict
from s1ray.reporting.commands import list_commands
from s1ray.reporting.contents import (
    Contents,
    describe_samples,
    list_facts,
    list_problems,
    read_contents,
)
from s1ray.reporting.figures.artwork import DARK_PALETTE, PALETTE, Drawing
from s1ray.reporting.figures.drawings import draw_parallel, draw_scaling, draw_training
from s1ray.reporting.packing import PackedSamples, pack_samples
from s1ray.reporting.pairs import build_pairs_table, choose_pairs
from s1ray.reporting.reading.records import Companions
from s1ray.reporting.tables.cost_tables import (
    build_cost_table,
    build_predictions_table,
    build_time_table,
)
from s1ray.reporting.tables.headlines import build_headlines_table
from s1ray.reporting.tables.tables import (
    Table,
    build_benchmarks_table,
    build_budgets_table,
    build_comparators_table,
    build_scaling_table,
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
class PageFigures:
    """The figures of the page; None where there is nothing to draw."""

    scaling: Drawing | None
    parallel: Drawing | None
    training: Drawing | None

    @property
    def all(self) -> tuple[Drawing, ...]:
        """Those that there are, in the page's order."""
        return tuple(filter(None, (self.scaling, self.parallel, self.training)))


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTables:
    """The tables of the page; None where there is nothing to show."""

    headlines: Table | None
    """None where the headlines are few enough to read as such."""
    pairs: Table | None
    benchmarks: Table | None
    budgets: tuple[Table, ...]
    scaling: Table | None
    waits: Table | None
    comparators: Table | None
    time: Table | None
    predictions: Table | None
    cost: Table | None


def build_report(
    run_dirs: Sequence[Path],
    *,
    labels: Sequence[str] | None,
    companions: Companions,
    output: Path,
    config: ReportConfig,
) -> Path:
    """Write the page of one or several runs, and its figures as png, pdf and csv beside it.

    Args:
        run_dirs: Of reproduce, evaluate, train or curate runs. What they lack, the page names.
        labels: What tells several runs apart, one each; None for their data sizes or names.
        companions: What stands beside the runs.
        output: The page's path; its folder is made where it is missing.
        config: How much the page holds.

    Returns:
        ``output``.

    Raises:
        ValueError: No directory is named, one is no run directory, or a file is malformed.
    """
    if not run_dirs:
        raise ValueError("no run directory is named. Name at least one, as a job prints it last.")
    contents = read_contents(run_dirs, labels=labels, config=config)
    figures = draw_figures(contents, companions=companions, config=config)
    page = render_page(contents, figures=figures, companions=companions, config=config)
    output.parent.mkdir(parents=True, exist_ok=True)
    for drawing in figures.all:
        for file in drawing.files:
            (output.parent / file.name).write_bytes(file.content)
    output.write_text(page, encoding="utf-8", errors="replace")
    return output


def draw_figures(
    contents: Contents, *, companions: Companions, config: ReportConfig
) -> PageFigures:
    """Return the figures of the page."""
    return PageFigures(
        scaling=draw_scaling(
            contents.results.points,
            published=companions.published,
            comparators=companions.comparators,
            config=config,
        ),
        parallel=draw_parallel(contents.results, config=config),
        training=draw_training(contents.curves, config=config),
    )


def pack_contents(contents: Contents, *, config: ReportConfig) -> PackedSamples | None:
    """Return the samples as the page carries them; None where there are none."""
    if not contents.samples.views:
        return None
    points = order_points(contents.results.points)
    return pack_samples(
        contents.samples.views,
        policies=list(dict.fromkeys(point.policy for point in points)),
        models=order_models(point.model for point in points),
        verdicts=list(Verdict),
        num_first=config.first_samples,
        rows_per_piece=config.samples_per_piece,
    )


def render_page(
    contents: Contents,
    *,
    figures: PageFigures,
    companions: Companions,
    config: ReportConfig,
) -> str:
    """Return the page's text; its only script is named by its hash.

    Args:
        contents: What was read.
        figures: As drawn from it.
        companions: What stands beside it.
        config: How much the page holds.
    """
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
        figures=figures,
        tables=build_tables(contents, companions=companions, config=config),
        commands=list_commands(contents),
        has_published=bool(companions.comparators),
        samples=pack_contents(contents, config=config),
        samples_note=describe_samples(contents),
        num_first=config.first_samples,
        num_more=config.more_samples,
    )


def build_tables(contents: Contents, *, companions: Companions, config: ReportConfig) -> PageTables:
    """Return the tables of the page; None where there is nothing to show."""
    results = contents.results
    benchmarks = sorted({point.benchmark for point in results.points})
    is_many = len(contents.headlines) > MAX_HEADLINES
    trained = [run for run in contents.runs if run.stage == "train"]
    return PageTables(
        headlines=build_headlines_table(contents.headlines) if is_many else None,
        pairs=build_pairs_table(
            choose_pairs(contents),
            compare=companions.compare,
            confidence=config.bootstrap.confidence,
        ),
        benchmarks=build_benchmarks_table(results.benchmarks),
        budgets=tuple(build_budgets_table(results.points, benchmark=name) for name in benchmarks),
        scaling=build_scaling_table(results.scaling) if results.scaling else None,
        waits=build_waits_table(results.waits),
        comparators=build_comparators_table(results.points, companions.comparators),
        time=build_time_table(contents.experiments),
        predictions=build_predictions_table(
            [prediction for run in trained for prediction in companions.predict(run)]
        ),
        cost=build_cost_table(results.cost),
    )
