import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from s1ray.reporting.artwork import PALETTE, embed_figure, save_figure, write_csv
from s1ray.reporting.figures import average, place_ticks, plot_scaling, plot_training
from s1ray.reporting.records import BudgetPoint, TrainingStep

POINT = BudgetPoint(
    benchmark="sums",
    model="trained",
    policy="cap_8",
    max_thinking_tokens=8,
    num_waits=0,
    num_samples=100,
    accuracy=0.5,
    stderr=0.05,
    thinking_tokens=7.5,
    answered=1.0,
    control=1.0,
    forced=0.5,
)
WAITED = replace(
    POINT,
    policy="wait_2",
    max_thinking_tokens=None,
    num_waits=2,
    thinking_tokens=40.0,
    accuracy=0.7,
)
STEPS = [TrainingStep(step=n, loss_nats=3.0 / n, learning_rate=1e-4 / n) for n in range(1, 41)]


def draw(*points: BudgetPoint) -> Figure:
    return plot_scaling(points, num_columns=2, width_inches=6, panel_inches=3, max_ticks=6)


def test_budgets_are_joined_in_order_and_waits_stand_alone() -> None:
    larger = replace(POINT, policy="cap_16", max_thinking_tokens=16, thinking_tokens=15.0)

    (panel,) = draw(WAITED, replace(larger, accuracy=0.6), POINT).axes

    joined, alone = (container.lines[0] for container in panel.containers)
    assert joined.get_xydata().tolist() == [[7.5, 50.0], [15.0, 60.0]]
    assert joined.get_linestyle() == "-"
    assert alone.get_xydata().tolist() == [[40.0, 70.0]]
    assert alone.get_linestyle() == "None"
    assert [text.get_text() for text in panel.texts] == ["\N{MULTIPLICATION SIGN}2"]


def test_error_bars_are_one_standard_error() -> None:
    (panel,) = draw(POINT).axes

    (segment,) = panel.containers[0].lines[2][0].get_segments()
    assert segment[:, 1].tolist() == pytest.approx([45.0, 55.0])


def test_other_methods_have_marks_and_a_legend_of_their_own() -> None:
    asked = replace(POINT, policy="token_64", thinking_tokens=60.0)

    figure = draw(POINT, WAITED, asked, replace(asked, policy="reject_64"))

    (panel,), (legend,) = figure.axes, figure.legends
    marks = [container.lines[0].get_marker() for container in panel.containers]
    assert marks == ["o", "D", "^", "X"]
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
    colours = {container.lines[0].get_color() for container in figure.axes[2].containers}
    assert colours == {PALETTE["series-0"], PALETTE["series-1"]}


def test_unscored_points_are_not_drawn() -> None:
    with pytest.raises(ValueError, match="none of 1 points has an accuracy"):
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


def test_training_draws_loss_its_mean_and_the_rate() -> None:
    figure = plot_training(STEPS, smoothing_steps=5, width_inches=6, height_inches=4)

    loss, rate = figure.axes
    raw, mean = loss.lines
    assert list(raw.get_ydata()) == [step.loss_nats for step in STEPS]
    assert list(mean.get_ydata()) == average([step.loss_nats for step in STEPS], window=5)
    assert list(rate.lines[0].get_ydata()) == [step.learning_rate for step in STEPS]


def test_training_without_rates_or_length_draws_the_loss_alone() -> None:
    steps = [replace(step, learning_rate=None) for step in STEPS[:4]]

    (panel,) = plot_training(steps, smoothing_steps=5, width_inches=6, height_inches=4).axes

    assert len(panel.lines) == 1


def test_training_without_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="no training steps"):
        plot_training([], smoothing_steps=5, width_inches=6, height_inches=4)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), st.integers(1, 12))
def test_average_is_the_mean_of_the_values_around(values: list[float], window: int) -> None:
    expected = []
    for index in range(len(values)):
        around = range(index - window // 2, index - window // 2 + window)
        near = [values[at] for at in around if 0 <= at < len(values)]
        expected.append(sum(near) / len(near))

    assert average(values, window=window) == pytest.approx(expected, abs=1e-8)


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
