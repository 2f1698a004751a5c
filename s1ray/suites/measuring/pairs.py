"""Two or more sides measured in turn, so that a busy machine slows all of them alike.

Knows numbers only: a side is a function that does its work once and returns what it took.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Side = Callable[[], float]
"""Does its work once and returns one number: seconds, bytes, tokens per second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Repeated measurements of one quantity, in its own unit."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def describe(self) -> dict[str, Any]:
        """Return median, lowest, highest and the values, as JSON takes them."""
        return {
            "median": self.median,
            "low": min(self.values),
            "high": max(self.values),
            "values": list(self.values),
        }


def time_call(work: Callable[[], object]) -> float:
    """Return the seconds of the wall clock that a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure_in_turn(sides: Mapping[str, Side], *, num_pairs: int) -> dict[str, Spread]:
    """Measure every side once, then every side again: A B A B, ``num_pairs`` times.

    Warming up is a side's own affair, before it is handed over.
    """
    values: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(num_pairs):
        for name, side in sides.items():
            values[name].append(side())
    return {name: Spread(values=tuple(numbers)) for name, numbers in values.items()}


def compare_pairs(numerators: Spread, denominators: Spread) -> Spread:
    """Return the ratio within every pair; its median is the figure to publish.

    Raises:
        ValueError: The sides were not measured equally often.
    """
    pairs: Sequence[tuple[float, float]] = list(
        zip(numerators.values, denominators.values, strict=True)
    )
    return Spread(values=tuple(top / bottom for top, bottom in pairs))
