"""The training loss and the learning rate by optimizer step, as a figure.

It draws records and returns a figure; it knows no file and no page.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from s1ray.reporting.figures.artwork import STYLE
from s1ray.reporting.reading.records import TrainingStep

Curve = Sequence[TrainingStep]
"""The steps of one training run, in order."""


def plot_training(
    curves: Mapping[str, Curve],
    *,
    colours: Mapping[str, str],
    smoothing_steps: int,
    width_inches: float,
    height_inches: float,
) -> Figure:
    """Return the training loss by step and, where it was recorded, the learning rate below it.

    Args:
        curves: By what tells them apart; several are named in a legend.
        colours: Of every curve.
        smoothing_steps: Window of the running mean; a shorter run is drawn as it is.
        width_inches: Of the figure.
        height_inches: Of the figure.

    Raises:
        ValueError: There are no curves, or one has no steps.
    """
    if not curves or not all(curves.values()):
        raise ValueError("there are no training steps to draw. Train first, or leave it out.")
    has_rates = any(step.learning_rate is not None for steps in curves.values() for step in steps)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width_inches, height_inches))
        heights = [3, 1] if has_rates else [1]
        grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)
        panels = grid.flatten()
        for label, steps in curves.items():
            _draw_losses(
                panels[0], steps, label=label, colour=colours[label], window=smoothing_steps
            )
            _draw_rates(panels[-1], steps, colour=colours[label])
        panels[0].set_ylim(0, None)
        panels[0].set_ylabel("loss (nats per token)")
        if has_rates:
            panels[1].set_ylim(0, None)
            panels[1].set_ylabel("learning rate")
            panels[1].yaxis.set_major_locator(MaxNLocator(nbins=2))
        if len(curves) > 1:
            panels[0].legend(loc="upper right")
        panels[-1].set_xlabel("optimizer step")
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    return figure


def _draw_losses(panel: Axes, steps: Curve, *, label: str, colour: str, window: int) -> None:
    numbers = [step.step for step in steps]
    losses = [step.loss_nats for step in steps]
    if is_smoothed(steps, window):
        panel.plot(numbers, losses, color=colour, lw=0.8, alpha=0.4)
        losses = average(losses, window=window)
    panel.plot(numbers, losses, color=colour, label=label)


def _draw_rates(panel: Axes, steps: Curve, *, colour: str) -> None:
    rates = [(step.step, step.learning_rate) for step in steps if step.learning_rate is not None]
    if rates:
        panel.plot(*zip(*rates, strict=True), color=colour, lw=1)


def is_smoothed(steps: Curve, smoothing_steps: int) -> bool:
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
