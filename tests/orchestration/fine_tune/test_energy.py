import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from s1ray.orchestration.fine_tune.energy import EnergyMeter, open_gpu_counter, read_joules


class Readings:
    """A counter that was read beforehand."""

    def __init__(self, *values: float) -> None:
        self._values: Iterator[float] = iter(values)

    def __call__(self) -> float:
        return next(self._values)


def test_a_runs_energy_adds_up_over_ranks_and_attempts(tmp_path: Path) -> None:
    first = EnergyMeter(tmp_path, rank=0, counter=Readings(1000.0, 1010.0, 1025.0))
    other = EnergyMeter(tmp_path, rank=1, counter=Readings(50.0, 70.0))
    steps = [first.after_step(), first.after_step(), other.after_step()]
    again = EnergyMeter(tmp_path, rank=0, counter=Readings(5.0, 12.0))
    steps.append(again.after_step())

    assert steps == [10.0, 15.0, 20.0, 7.0]
    assert read_joules(tmp_path) == 25.0 + 20.0 + 7.0


def test_without_a_counter_nothing_is_known_and_nothing_written(tmp_path: Path) -> None:
    meter = EnergyMeter(tmp_path, rank=0, counter=None)

    assert meter.after_step() is None
    assert read_joules(tmp_path) is None
    assert not list(tmp_path.iterdir())


class NVMLError(Exception):
    """What the library raises."""


class Library(ModuleType):
    """As much of NVIDIA's library as is asked: one GPU, 5,000 mJ after the driver was loaded."""

    NVMLError = NVMLError

    def nvmlInit(self) -> None:  # noqa: N802 - NVIDIA's name
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if uuid != "GPU-1":
            raise NVMLError
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802
        assert handle == "GPU-1"
        return 5000


def test_the_library_counts_millijoules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Library("pynvml"))

    counter = open_gpu_counter("GPU-1")

    assert counter is not None
    assert counter() == 5.0
    assert open_gpu_counter("GPU-2") is None


def test_without_the_library_there_is_no_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert open_gpu_counter("GPU-1") is None
