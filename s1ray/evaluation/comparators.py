"""Scores that others published, to stand beside ours in tables and figures.

They are quoted, not measured here, and each carries its source. The numbers live in the
configuration; this module only lists them.
"""

from dataclasses import dataclass

from s1ray.config.evaluation import ComparatorsConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparator:
    """One published score."""

    system: str
    benchmark: str
    accuracy: float
    """0 to 1."""
    is_drawn: bool
    """Whether it is a line in the figure of accuracy."""
    source: str
    """Where it was published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPoint:
    """A published accuracy at a published length of thinking."""

    system: str
    method: str
    """How thinking was scaled, as a policy's name begins."""
    benchmark: str
    thinking_tokens: float
    """Mean over the questions."""
    accuracy: float
    """0 to 1."""
    source: str
    """Where it was published."""


def list_comparators(config: ComparatorsConfig) -> tuple[Comparator, ...]:
    """Return the published scores, systems in the order of the file."""
    return tuple(
        Comparator(
            system=system.name,
            benchmark=benchmark,
            accuracy=percent / 100,
            is_drawn=system.name in config.drawn,
            source=config.sources[system.source],
        )
        for system in config.systems
        for benchmark, percent in system.accuracy_percent.items()
    )


def list_published_points(config: ComparatorsConfig) -> tuple[PublishedPoint, ...]:
    """Return the published points, curve by curve."""
    return tuple(
        PublishedPoint(
            system=curve.system,
            method=curve.method,
            benchmark=curve.benchmark,
            thinking_tokens=tokens,
            accuracy=percent / 100,
            source=config.sources[curve.source],
        )
        for curve in config.curves
        for tokens, percent in curve.points
    )
