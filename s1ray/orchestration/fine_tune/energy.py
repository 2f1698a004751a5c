"""What a worker's GPU has drawn, where NVIDIA's management library tells.

The library counts millijoules since the driver was loaded; a run is the difference of two readings.
It is optional (``pip install nvidia-ml-py``), and GPUs before Volta do not count.
"""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch

from s1ray.orchestration.run_directory.runs import write_json

ENERGY = "energy"
Counter = Callable[[], float]
"""Joules since some moment before the first call."""
_MILLI = 1e-3


def open_counter() -> Counter | None:
    """Return the counter of this process's GPU; None where there is none."""
    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return open_gpu_counter(f"GPU-{properties.uuid}")


def open_gpu_counter(uuid: str) -> Counter | None:
    """Return the counter of one GPU; None where the library or the GPU does not count."""
    try:
        nvml = import_module("pynvml")
    except ModuleNotFoundError:
        return None
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError:
        return None
    return lambda: float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) * _MILLI


class EnergyMeter:
    """Adds up one rank's joules over the attempts of a run, in a file of the run."""

    def __init__(self, run_path: Path, *, rank: int, counter: Counter | None) -> None:
        """Go on from what earlier attempts have drawn.

        Args:
            run_path: The run's directory.
            rank: Whose GPU it is; each rank has its file.
            counter: None leaves no file: what is not known is not 0.
        """
        self._path = run_path / ENERGY / f"rank-{rank}.json"
        self._counter = counter
        self._before = _read(self._path)
        self._last = self._began = 0.0 if counter is None else counter()

    def after_step(self) -> float | None:
        """Return the joules since the step before, and keep the sum; None where nothing counts."""
        if self._counter is None:
            return None
        now = self._counter()
        drawn, self._last = now - self._last, now
        self._path.parent.mkdir(exist_ok=True)
        write_json(self._path, {"joules": self._before + now - self._began})
        return drawn


def read_joules(run_path: Path) -> float | None:
    """Return what all ranks of a run have drawn; None where none of them knows."""
    files = sorted((run_path / ENERGY).glob("rank-*.json"))
    return sum(map(_read, files)) if files else None


def _read(path: Path) -> float:
    if not path.exists():
        return 0.0
    return float(json.loads(path.read_text(encoding="utf-8"))["joules"])
