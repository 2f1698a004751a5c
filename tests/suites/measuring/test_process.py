"""Work in a process of its own: what it gives, how long it took, what memory it held."""

import os

import pytest

from s1ray.suites.measuring.process import measure_apart, time_work

HELD_BYTES = 300 * 2**20


def _hold_memory() -> tuple[int, float]:
    held = bytearray(os.urandom(1)) * HELD_BYTES
    return time_work(lambda: len(held))


def _name_process() -> tuple[int, float]:
    return os.getpid(), 1.5


def _fail() -> tuple[int, float]:
    raise ValueError("broken")


def test_work_runs_elsewhere_and_its_own_seconds_count() -> None:
    measured = measure_apart(_name_process, sample_seconds=0.01)

    assert measured.result != os.getpid()
    assert measured.seconds == 1.5


def test_memory_that_work_held_is_seen() -> None:
    small = measure_apart(_name_process, sample_seconds=0.005)
    large = measure_apart(_hold_memory, sample_seconds=0.005)

    assert large.result == HELD_BYTES
    assert large.peak_memory_gib - small.peak_memory_gib > 0.9 * HELD_BYTES / 2**30


def test_work_that_fails_is_an_error_here() -> None:
    with pytest.raises(RuntimeError, match="ended with 1"):
        measure_apart(_fail, sample_seconds=0.01)
