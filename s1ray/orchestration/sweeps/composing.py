"""Points of a search space as recipes: the command line's overrides, then the point's own.

Hydra composes once for each set of choices of groups; plain values are set on a copy, which is a
hundred times faster and means the same.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from s1ray.config.recipe import Recipe
from s1ray.orchestration.composing import RECIPE, compose_config
from s1ray.orchestration.launch import parse_config
from s1ray.orchestration.mistakes import explain_override
from s1ray.orchestration.sweeps.space import Point


def compose_points(
    overrides: Sequence[str], points: Iterable[Point]
) -> Iterator[tuple[Point, Recipe]]:
    """Yield every point with its recipe.

    Args:
        overrides: Of the command line; the points' own stand above them.
        points: Of the search space.

    Raises:
        ValueError: An override names no key or group, or a point is no legal recipe; the message
            names the point.
    """
    composed: dict[tuple[str, ...], DictConfig] = {}
    for point in points:
        try:
            yield point, _compose_point(tuple(overrides), point, composed)
        except OmegaConfBaseException as error:
            raise ValueError(f"{_name(point)}: {explain_override(error)}") from None
        except ValueError as error:
            raise ValueError(f"{_name(point)}: {error}") from None


def _name(point: Point) -> str:
    return "the point " + ", ".join(f"{axis}={label}" for axis, label in point.labels.items())


def _compose_point(
    overrides: tuple[str, ...], point: Point, composed: dict[tuple[str, ...], DictConfig]
) -> Recipe:
    plain, choices = dict(point.changes), list(point.overrides)
    base = _compose(overrides, composed)
    for key, value in point.changes.items():
        if isinstance(value, str) and isinstance(OmegaConf.select(base, key), DictConfig):
            choices.append(f"{key}={value}")  # a choice of a group
            del plain[key]
    config = _compose((*overrides, *choices), composed).copy()
    for key, value in plain.items():
        _set(config, key, value)
    return parse_config(config, Recipe)


def _compose(overrides: tuple[str, ...], composed: dict[tuple[str, ...], DictConfig]) -> DictConfig:
    if overrides not in composed:
        composed[overrides] = compose_config(RECIPE, overrides)
    return composed[overrides]


def _set(config: DictConfig, key: str, value: Any) -> None:  # noqa: ANN401 - any JSON value
    *parents, name = key.split(".")
    section = OmegaConf.select(config, ".".join(parents)) if parents else config
    if not isinstance(section, DictConfig) or name not in section:
        raise ValueError(
            f"{key} is no key of the recipe. Correct the axis; `--cfg job` prints every legal key."
        )
    section[name] = value
