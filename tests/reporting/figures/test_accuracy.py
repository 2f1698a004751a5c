import re
from collections.abc import Sequence
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from s1ray.config.report import ReportFigureConfig
from s1ray.reporting.figures.accuracy import Mark, place_ticks, plot_accuracy
from s1ray.reporting.figures.artwork import PALETTE, embed_figure, save_figure, write_csv
from s1ray.reporting.figures.drawings import list_marks
from s1ray.reporting.reading.records import BudgetPoint
from tests.reporting.points import POINT, WAITED

SHAPE = ReportFigureConfig(width_inches=6, panel_inches=3, columns=2, max_ticks=6)


def draw(*points: BudgetPoint, published: Sequence[Mark] = ()) -> Figure:
    return plot_accuracy(
        [*list_marks(points), *published], comparators=(), confidence=0.95, shape=SHAPE
    )


def test_budgets_are_joined_in_order_and_waits_stand_alone() -> None:
    larger = replace(POINT, policy="cap_16", max_thinking_tokens=16, thinking_tokens=15.0)

    (panel,) = draw(WAITED, replace(larger, accuracy=0.6), POINT).axes

    joined, alone = panel.lines
    assert joined.get_xydata().tolist() == [[7.5, 50.0], [15.0, 60.0]]
    assert joined.get_linestyle() == "-"
    assert alone.get_xydata().tolist() == [[40.0, 70.0]]
    assert alone.get_linestyle() == "None"
    assert [text.get_text() for text in panel.texts] == ["\N{MULTIPLICATION SIGN}2"]


def test_joined_budgets_stand_in_their_band_and_single_ones_on_their_bar() -> None:
    larger = replace(POINT, policy="cap_16", max_thinking_tokens=16, thinking_tokens=15.0)

    (panel,) = draw(replace(larger, accuracy=0.99), POINT, WAITED).axes
    band, bar = panel.collections

    # 1.96 standard errors of 5 points to each side, as far as accuracies go.
    heights = {round(float(y), 1) for _, y in band.get_paths()[0].vertices}
    assert {40.2, 59.8, 89.2, 100.0} <= heights
    (segment,) = bar.get_segments()
    assert segment[:, 1].tolist() == pytest.approx([60.2, 79.8], abs=0.05)


def test_other_methods_have_marks_and_a_legend_of_their_own() -> None:
    asked = replace(POINT, policy="token_64", thinking_tokens=60.0)

    figure = draw(POINT, WAITED, asked, replace(asked, policy="reject_64"))

    (panel,), (legend,) = figure.axes, figure.legends
    assert [line.get_marker() for line in panel.lines] == ["o", "D", "^", "X"]
    assert [text.get_text() for text in legend.get_texts()] == [
        "trained",
        "with Waits",
        "asked for tokens",
        "rejection sampling",
    ]


def test_each_benchmark_has_a_panel_and_each_model_a_colour() -> None:
    other = replace(POINT, benchmark="gsm8k")
    figure = draw(POINT, replace(POINT, model="base"), other, replace(POINT, benchmark="math500"))

    assert [panel.get_title(loc="left") for panel in figure.axes] == ["gsm8k", "math500", "sums"]
    colours = {line.get_color() for line in figure.axes[2].lines}
    assert colours == {PALETTE["series-0"], PALETTE["series-1"]}


def test_lines_of_data_sizes_follow_their_size() -> None:
    sizes = ("10,000 traces", "1,000 traces", "2,000 traces")

    figure = draw(*(replace(POINT, model=size) for size in ("base", *sizes)))

    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "base",
        "1,000 traces",
        "2,000 traces",
        "10,000 traces",
    ]


def test_published_points_are_grey_and_lie_beside_ours() -> None:
    theirs = [
        replace(mark, series="s1-32B", stderr=None, is_published=True, thinking_tokens=tokens)
        for mark, tokens in zip(list_marks([POINT, POINT]), (500.0, 8000.0), strict=True)
    ]

    figure = draw(POINT, published=[*theirs, replace(theirs[0], benchmark="elsewhere")])

    (panel,) = figure.axes
    assert panel.lines[0].get_color() == PALETTE["muted"]
    assert panel.lines[0].get_xdata().tolist() == [500.0, 8000.0]
    assert panel.get_xlim()[1] > 8000
    assert "s1-32B, published" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_panels_keep_their_height_under_a_long_legend() -> None:
    names = [f"a model with quite a long name, number {number}" for number in range(6)]

    short, long = draw(POINT), draw(*(replace(POINT, model=name) for name in names))

    heights = []
    for figure in (short, long):
        figure.draw_without_rendering()
        heights.append(figure.axes[0].get_position().height * figure.get_figheight())
    assert heights[1] == pytest.approx(heights[0], rel=0.1)


def test_unscored_points_are_not_drawn() -> None:
    with pytest.raises(ValueError, match="no point has an accuracy"):
        draw(replace(POINT, accuracy=None))


@given(
    st.lists(st.floats(0, 40000), min_size=1, max_size=9),
    st.integers(3, 12),
)
def test_ticks_are_few_powers_of_two_and_begin_below_the_smallest(
    tokens: list[float], max_ticks: int
) -> None:
    ticks = place_ticks(tokens, max_ticks=max_ticks)

    assert 1 <= len(ticks) <= max_ticks
    assert ticks == sorted(ticks)
    assert all(tick == 0 or tick & (tick - 1) == 0 for tick in ticks)
    assert ticks[0] <= max(1, min(tokens))


@pytest.mark.parametrize("file_format", ["png", "pdf", "svg"])
def test_saved_figure_is_the_same_every_time(file_format: str) -> None:
    once = save_figure(draw(POINT, WAITED), file_format=file_format, dots_per_inch=50)

    assert once == save_figure(draw(POINT, WAITED), file_format=file_format, dots_per_inch=50)


def test_embedded_figure_takes_colours_and_fonts_from_the_page() -> None:
    svg = embed_figure(draw(POINT, WAITED), name="scaling", title="t", description="d")

    assert "var(--series-1)" in svg
    assert "var(--ink)" in svg
    assert not re.findall(r"#[0-9a-f]{6}", svg)
    assert set(re.findall('font-family: ([^;"]*)', svg)) == {"inherit"}


def test_embedded_figure_is_well_formed_whatever_its_names() -> None:
    hostile = replace(POINT, model='<script>alert("1")</script> $\\frac{--> & id="x')

    svg = embed_figure(draw(hostile), name="scaling", title="<b>", description="a & b")

    root = ElementTree.fromstring(svg)
    ids = [node.get("id") for node in root.iter() if node.get("id")]
    texts = " ".join(root.itertext())
    assert root.get("role") == "img"
    assert root.find(".//{*}script") is None
    assert '<script>alert("1")</script>' in texts
    assert len(ids) == len(set(ids))
    assert all(name.startswith("scaling-") for name in ids if name)
    targets = set(re.findall(r'(?:href="#|url\(#)([^")]*)', svg))
    assert targets <= set(ids)


def test_csv_leaves_cells_empty_where_nothing_was_measured() -> None:
    assert write_csv([{"a": 1, "b": None}, {"a": "x, y", "b": 0.5}]) == 'a,b\n1,\n"x, y",0.5\n'
