"""Tables of what runs took, and of what a plan said that they would.

They know units and rows; they measure and predict nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from s1ray.reporting.reading.records import Experiment, Prediction, Run
from s1ray.reporting.tables.formats import ABSENT, format_seconds, format_significant, spell_name
from s1ray.reporting.tables.tables import Column, Row, Table


def build_predictions_table(predictions: Sequence[Prediction]) -> Table | None:
    """Return what was predicted beside what it became; None where nothing was predicted."""
    runs = dict.fromkeys(prediction.run for prediction in predictions)
    groups = tuple(
        tuple(_predict_row(prediction) for prediction in predictions if prediction.run == run)
        for run in runs
    )
    columns = (
        Column(title="training", is_number=False),
        Column(title="predicted", is_number=True),
        Column(title="actual", is_number=True),
        Column(title="actual over predicted", is_number=True),
        Column(title="prediction rests on", is_number=False),
        Column(title="run", is_number=False),
    )
    note = "Predictions are those of jobs.plan, made from sizes and rates alone."
    if not groups:
        return None
    return Table(title="Predicted and actual", columns=columns, groups=groups, note=note)


def _predict_row(prediction: Prediction) -> Row:
    predicted, actual = prediction.predicted, prediction.actual
    ratio = actual / predicted if predicted and actual is not None else None
    return (
        prediction.quantity,
        *(
            ABSENT if value is None else format_significant(value)
            for value in (predicted, actual, ratio)
        ),
        prediction.basis,
        prediction.run,
    )


def build_time_table(experiments: Sequence[Experiment]) -> Table | None:
    """Return the time of every step and their sum; None where no run says.

    A run of steps speaks for them; a step's own run is shown where it tells more.
    """
    runs = [
        run
        for experiment in experiments
        for run in experiment.runs
        if run is experiment.head or not experiment.head.seconds or len(run.seconds) > 1
    ]
    groups = tuple(_time_rows(run) for run in runs if run.seconds)
    columns = (
        Column(title="step", is_number=False),
        Column(title="time", is_number=True),
        Column(title="stage", is_number=False),
        Column(title="run", is_number=False),
    )
    return Table(title="Time", columns=columns, groups=groups, note="") if groups else None


def _time_rows(run: Run) -> tuple[Row, ...]:
    rows = [
        (spell_name(step), format_seconds(seconds), run.stage, run.name)
        for step, seconds in run.seconds.items()
    ]
    if len(rows) > 1:
        rows.append(("all", format_seconds(sum(run.seconds.values())), run.stage, run.name))
    return tuple(rows)


def build_cost_table(cost: Mapping[str, Any]) -> Table | None:
    """Return what ``results.json`` says of cost, a row for each number; None where it is silent."""
    rows = tuple(
        (spell_name(name), _format_cost(name, value)) for name, value in _flatten("", cost)
    )
    columns = (Column(title="cost", is_number=False), Column(title="value", is_number=True))
    return Table(title="Cost", columns=columns, groups=(rows,), note="") if rows else None


def _flatten(prefix: str, cost: Mapping[str, Any]) -> Iterable[tuple[str, float | str | None]]:
    for key, value in cost.items():
        name = f"{prefix}, {key}" if prefix else key
        if isinstance(value, Mapping):
            yield from _flatten(name, value)
        else:
            yield name, value


def _format_cost(name: str, value: float | str | None) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, bool | str):
        return str(value)
    return format_seconds(value) if name.endswith("seconds") else format_significant(value)
