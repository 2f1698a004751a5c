from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes

from s1ray.reporting.figures.training_curve import average, plot_training
from s1ray.reporting.reading.records import TrainingStep

STEPS = [TrainingStep(step=n, loss_nats=3.0 / n, learning_rate=1e-4 / n) for n in range(1, 41)]


COLOURS = {"one": "#111111", "two": "#222222"}


def plot(**curves: list[TrainingStep]) -> list[Axes]:
    figure = plot_training(
        curves, colours=COLOURS, smoothing_steps=5, width_inches=6, height_inches=4
    )
    return list(figure.axes)


def test_training_draws_loss_its_mean_and_the_rate() -> None:
    loss, rate = plot(one=STEPS)

    raw, mean = loss.lines
    assert list(raw.get_ydata()) == [step.loss_nats for step in STEPS]
    assert list(mean.get_ydata()) == average([step.loss_nats for step in STEPS], window=5)
    assert list(rate.lines[0].get_ydata()) == [step.learning_rate for step in STEPS]
    assert loss.get_legend() is None


def test_trainings_share_a_figure_and_are_named() -> None:
    loss, rate = plot(one=STEPS[:4], two=STEPS[:3])

    assert [line.get_color() for line in loss.lines] == ["#111111", "#222222"]
    assert len(rate.lines) == 2
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["one", "two"]


def test_training_without_rates_or_length_draws_the_loss_alone() -> None:
    (panel,) = plot(one=[replace(step, learning_rate=None) for step in STEPS[:4]])

    assert len(panel.lines) == 1


def test_training_without_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="no training steps"):
        plot(one=[])


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), st.integers(1, 12))
def test_average_is_the_mean_of_the_values_around(values: list[float], window: int) -> None:
    expected = []
    for index in range(len(values)):
        around = range(index - window // 2, index - window // 2 + window)
        near = [values[at] for at in around if 0 <= at < len(values)]
        expected.append(sum(near) / len(near))

    assert average(values, window=window) == pytest.approx(expected, abs=1e-8)
