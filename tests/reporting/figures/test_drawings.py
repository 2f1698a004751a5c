import csv
import io
from dataclasses import replace

from s1ray.reporting.figures.accuracy import plot_accuracy
from s1ray.reporting.figures.drawings import caption_marks, draw_parallel, draw_scaling, list_votes
from s1ray.reporting.reading.records import Results, Vote
from tests.reporting.pages import load_report_config
from tests.reporting.points import POINT, WAITED

VOTE = Vote(
    series="sums/trained",
    policy="cap_8",
    size=4,
    majority=0.8,
    majority_stderr=0.04,
    shortest_majority=0.7,
    shortest_majority_stderr=0.05,
)
RESULTS = Results(
    points=(POINT, WAITED), scaling={}, waits=(), votes=(VOTE,), benchmarks=(), cost={}
)
CONFIG = load_report_config(dots_per_inch=40)


def test_votes_stand_at_the_thinking_of_all_their_samples() -> None:
    (mark,) = list_votes(RESULTS)

    assert mark.thinking_tokens == 4 * 7.5
    assert (mark.accuracy, mark.stderr, mark.series) == (0.8, 0.04, "trained")


def test_votes_at_different_budgets_are_lines_of_their_own() -> None:
    natural = replace(POINT, policy="natural", max_thinking_tokens=None, thinking_tokens=20.0)
    votes = [replace(VOTE, size=size) for size in (2, 4)]
    votes += [replace(VOTE, policy="natural", size=size, majority=0.9) for size in (2, 4)]
    results = replace(RESULTS, points=(POINT, natural), votes=tuple(votes))

    marks = list_votes(results)
    drawing = draw_parallel(results, config=CONFIG)

    [panel] = plot_accuracy(
        marks, comparators=(), confidence=0.95, shape=load_report_config().wide
    ).axes
    joined = [list(line.get_xdata()) for line in panel.lines if len(line.get_xdata()) > 1]
    assert joined == [[15.0, 30.0], [40.0, 80.0]]
    assert drawing is not None
    assert "votes at cap_8" in drawing.wide
    assert "votes at natural" in drawing.wide


def test_parallel_figure_holds_only_models_that_voted() -> None:
    silent = replace(POINT, model="base")
    drawing = draw_parallel(replace(RESULTS, points=(*RESULTS.points, silent)), config=CONFIG)

    assert drawing is not None
    table = next(file for file in drawing.files if file.name == "parallel.csv")
    rows = list(csv.DictReader(io.StringIO(table.content.decode())))
    assert {row["series"] for row in rows} == {"trained"}
    assert [row["method"] for row in rows] == ["budget", "wait", "vote"]


def test_there_is_no_parallel_figure_without_votes() -> None:
    assert draw_parallel(replace(RESULTS, votes=()), config=CONFIG) is None


def test_several_runs_share_one_axis_with_a_line_each() -> None:
    points = [replace(POINT, model=f"{size} traces") for size in ("1,000", "59,000")]

    drawing = draw_scaling(points, published=(), comparators=(), config=CONFIG)

    assert drawing is not None
    assert "1,000 traces" in drawing.wide
    assert "59,000 traces" in drawing.wide


def test_caption_names_what_the_figure_holds_and_its_confidence() -> None:
    caption = caption_marks(list_votes(RESULTS), title="T", confidence=0.95)

    assert "squares" in caption
    assert "diamonds" not in caption
    assert "95 % confidence" in caption
