from pathlib import Path

import pytest

from s1ray.orchestration.doctor import gpus
from s1ray.orchestration.doctor.gpus import FIELDS, GpuReading, read_gpus


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A stand-in for nvidia-smi that prints what is written beside it."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {tmp_path}/answer\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_gpus_are_read_as_the_driver_prints_them(driver: Path) -> None:
    (driver / "answer").write_text(
        "NVIDIA H100 80GB HBM3, 81559, 250.00, 700.00, 1980, 1980, Not Active, Active\n"
        "NVIDIA H100 80GB HBM3, 81559, [N/A], 700.00, [Not Supported], 1980, Active, Not Active\n"
    )

    first, second = read_gpus().gpus

    assert first.memory_gib == pytest.approx(79.65, abs=0.01)
    assert (first.power_limit_watts, first.default_power_limit_watts) == (250.0, 700.0)
    assert first.slowdowns == ("too hot",)
    assert second.power_limit_watts is None
    assert second.clock_mhz is None
    assert second.slowdowns == ("hardware slowdown",)
    assert f"--query-gpu={','.join(FIELDS)}" in (driver / "asked").read_text()


def test_without_a_driver_there_are_no_gpus(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert read_gpus() == GpuReading(gpus=(), fault="")


@pytest.mark.parametrize("stream", ["1", "2"])
def test_a_driver_that_fails_is_no_machine_without_gpus(driver: Path, stream: str) -> None:
    program = driver / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho 'has failed' >&{stream}\nexit 9\n")

    assert read_gpus() == GpuReading(gpus=(), fault="nvidia-smi fails with 9: has failed")


def test_a_driver_that_does_not_start_is_no_machine_without_gpus(driver: Path) -> None:
    (driver / "nvidia-smi").write_bytes(b"\x7fELF")

    assert read_gpus().fault == "nvidia-smi does not start: Exec format error"


def test_a_driver_that_hangs_is_no_machine_without_gpus(
    driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (driver / "nvidia-smi").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(gpus, "_SECONDS", 0.2)

    assert read_gpus().fault == "nvidia-smi does not answer within 0.2 s"
