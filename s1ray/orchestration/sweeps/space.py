"""A search space spelled out: its points, each with a label on every axis and what it changes.

Pure; it knows neither Hydra nor Ray. Drawn values depend on the seed alone, so that a sweep that
is started again has the same points.
"""

import itertools
import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from s1ray.config.search import (
    AxisConfig,
    ChoiceAxisConfig,
    EqualConfig,
    GridAxisConfig,
    LogUniformAxisConfig,
    OptionsAxisConfig,
    SearchConfig,
)

_PLAIN = re.compile(r"[A-Za-z0-9_.+-]([A-Za-z0-9_.+ -]*[A-Za-z0-9_.+-])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisValue:
    """One value of an axis."""

    label: str
    overrides: tuple[str, ...]
    """As on the command line."""
    changes: Mapping[str, Any]
    """Values by dotted key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One combination: a value of every axis."""

    labels: Mapping[str, str]
    """By axis, in the axes' order."""
    overrides: tuple[str, ...]
    changes: Mapping[str, Any]


def label_value(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return a value as tables, dashboards and ``only`` spell it."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def quote_label(label: str) -> str:
    """Return a label as Hydra reads it back as one string, whatever stands in it."""
    if _PLAIN.fullmatch(label) and isinstance(yaml.safe_load(label), str):
        return label
    return "'" + label.replace("'", "\\'") + "'"


def draw_points(search: SearchConfig) -> tuple[Point, ...]:
    """Return every combination of the tried values, for every draw of the drawn ones.

    Raises:
        ValueError: There are no axes, or ``only`` names no value of its axis.
    """
    if not search.axes:
        raise ValueError(
            "search.axes is empty: there is nothing to sweep. Choose search=..., or an experiment "
            "with axes such as experiment=data_size_demo."
        )
    is_drawn = any(isinstance(axis, ChoiceAxisConfig | LogUniformAxisConfig) for axis in
                   search.axes.values())  # fmt: skip
    generator = random.Random(search.seed)
    points: dict[tuple[str, ...], Point] = {}
    for _ in range(search.draws if is_drawn else 1):
        columns = [
            list_values(name, axis, generator=generator) for name, axis in search.axes.items()
        ]
        for values in itertools.product(*columns):
            point = _combine(list(search.axes), values)
            points.setdefault(tuple(point.labels.values()), point)
    return tuple(points.values())


def list_values(name: str, axis: AxisConfig, *, generator: random.Random) -> list[AxisValue]:
    """Return the values of an axis: all that are tried, or the one that is drawn.

    Args:
        name: Of the axis, for messages.
        axis: Its declaration.
        generator: Every drawn axis takes one number from it, also where ``only`` is set.

    Raises:
        ValueError: ``only`` names no value.
    """
    match axis:
        case OptionsAxisConfig():
            values = [
                AxisValue(label=label, overrides=overrides, changes={})
                for label, overrides in axis.options.items()
            ]
            return _select(name, values, only=axis.only)
        case GridAxisConfig():
            values = [_set_key(axis.setting, value) for value in axis.values]
            return _select(name, values, only=axis.only)
        case ChoiceAxisConfig():
            values = [_set_key(axis.setting, value) for value in axis.values]
            drawn = generator.randrange(len(values))
            chosen = _select(name, values, only=axis.only)
            return chosen if axis.only is not None else [values[drawn]]
        case LogUniformAxisConfig():
            low, high = math.log(axis.low), math.log(axis.high)
            number = math.exp(generator.uniform(low, high))
            return [_set_key(axis.setting, _check_number(name, axis) or number)]


def _check_number(name: str, axis: LogUniformAxisConfig) -> float | None:
    if axis.only is not None and not axis.low <= axis.only <= axis.high:
        raise ValueError(
            f"search.axes.{name}.only={axis.only} lies outside {axis.low} to {axis.high}."
        )
    return axis.only


def _set_key(key: str, value: Any) -> AxisValue:  # noqa: ANN401 - any JSON value
    return AxisValue(label=label_value(value), overrides=(), changes={key: value})


def _select(name: str, values: list[AxisValue], *, only: Any) -> list[AxisValue]:  # noqa: ANN401
    if only is None:
        return values
    chosen = [value for value in values if value.label == label_value(only)]
    if not chosen:
        raise ValueError(
            f"search.axes.{name}.only={label_value(only)} is no value of the axis; it has "
            f"{[value.label for value in values]}."
        )
    return chosen


def _combine(names: Sequence[str], values: Sequence[AxisValue]) -> Point:
    changes: dict[str, Any] = {}
    for value in values:
        changes |= value.changes
    return Point(
        labels={name: value.label for name, value in zip(names, values, strict=True)},
        overrides=tuple(text for value in values for text in value.overrides),
        changes=changes,
    )


def equalise(equal: EqualConfig) -> dict[str, int | None]:
    """Return the training's length under a named mode; nothing where each keeps its own."""
    if equal.by is None:
        return {}
    lengths = {
        "epochs": ("training.num_epochs", equal.epochs),
        "steps": ("training.max_steps", equal.steps),
        "tokens": ("training.max_tokens", equal.tokens),
    }
    return {key: amount if by == equal.by else None for by, (key, amount) in lengths.items()}
