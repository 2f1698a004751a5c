"""A node's GPUs as its driver describes them; it knows no plan and no Ray."""

import shutil
import subprocess
from dataclasses import dataclass

FIELDS = (
    "name",
    "memory.total",
    "power.limit",
    "power.default_limit",
    "clocks.applications.graphics",
    "clocks.default_applications.graphics",
    "clocks_throttle_reasons.hw_slowdown",
    "clocks_throttle_reasons.sw_thermal_slowdown",
)
"""Of ``nvidia-smi --help-query-gpu``."""
_SLOWDOWNS = {6: "hardware slowdown", 7: "too hot"}
_MIB_PER_GIB = 1024
_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU. None is what the driver does not say."""

    name: str
    memory_gib: float | None
    power_limit_watts: float | None
    default_power_limit_watts: float | None
    clock_mhz: float | None
    """That applications are given."""
    default_clock_mhz: float | None
    slowdowns: tuple[str, ...]
    """Why its clock is held down just now, idleness and the power limit apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """What the driver says."""

    gpus: tuple[Gpu, ...]
    fault: str
    """Why it said nothing; empty where it answered, and where there is no driver."""


def read_gpus() -> GpuReading:
    """Return this machine's GPUs; none where there is no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return GpuReading(gpus=(), fault="")
    query = [program, f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True, timeout=_SECONDS)
    except subprocess.CalledProcessError as error:
        said = " ".join((error.stderr or error.stdout).split())
        return GpuReading(gpus=(), fault=f"nvidia-smi fails with {error.returncode}: {said}")
    except subprocess.TimeoutExpired:
        return GpuReading(gpus=(), fault=f"nvidia-smi does not answer within {_SECONDS} s")
    except OSError as error:
        return GpuReading(gpus=(), fault=f"nvidia-smi does not start: {error.strerror}")
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return GpuReading(gpus=tuple(map(_read_gpu, lines)), fault="")


def _read_gpu(line: str) -> Gpu:
    values = [value.strip() for value in line.split(",")]
    memory = _read_number(values[1])
    return Gpu(
        name=values[0],
        memory_gib=None if memory is None else memory / _MIB_PER_GIB,
        power_limit_watts=_read_number(values[2]),
        default_power_limit_watts=_read_number(values[3]),
        clock_mhz=_read_number(values[4]),
        default_clock_mhz=_read_number(values[5]),
        slowdowns=tuple(why for at, why in _SLOWDOWNS.items() if values[at] == "Active"),
    )


def _read_number(text: str) -> float | None:
    """Return the number; None where the driver says [N/A] or [Not Supported]."""
    try:
        return float(text)
    except ValueError:
        return None
