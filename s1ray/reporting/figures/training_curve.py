"""The training loss and the learning rate by optimizer step, as a figure.

It draws records and returns a figure; it knows no file and no page.
"""

from collections.abc import Sequence
from itertools import accumulate

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from s1ray.reporting.figures.artwork import PALETTE, SERIES, STYLE
from s1ray.reporting.reading.records import TrainingStep


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
