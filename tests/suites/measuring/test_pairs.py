"""Sides measured in turn."""

import pytest

from s1ray.suites.measuring.pairs import Spread, compare_pairs, measure_in_turn, time_call


def test_sides_are_measured_in_turn() -> None:
    calls: list[str] = []
    numbers = iter(range(100))

    def side(name: str) -> float:
        calls.append(name)
        return float(next(numbers))

    spreads = measure_in_turn({"ours": lambda: side("a"), "peer": lambda: side("b")}, num_pairs=3)

    assert "".join(calls) == "ababab"
    assert spreads["ours"].values == (0.0, 2.0, 4.0)
    assert spreads["peer"].values == (1.0, 3.0, 5.0)


def test_ratio_is_taken_within_each_pair() -> None:
    slowing = Spread(values=(1.0, 10.0, 100.0))
    twice = Spread(values=(2.0, 20.0, 200.0))

    assert compare_pairs(twice, slowing).values == (2.0, 2.0, 2.0)


def test_ratio_of_unequal_counts_is_refused() -> None:
    with pytest.raises(ValueError, match="argument"):
        compare_pairs(Spread(values=(1.0,)), Spread(values=(1.0, 2.0)))


def test_spread_describes_median_and_range() -> None:
    described = Spread(values=(3.0, 1.0, 8.0)).describe()

    assert described == {"median": 3.0, "low": 1.0, "high": 8.0, "values": [3.0, 1.0, 8.0]}


def test_time_call_returns_seconds_of_the_call() -> None:
    done: list[int] = []

    assert time_call(lambda: done.append(1)) >= 0
    assert done == [1]
