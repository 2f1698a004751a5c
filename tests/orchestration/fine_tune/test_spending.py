"""Utilisation, device-hours and dollars, by hand."""

from collections.abc import Mapping
from typing import Any

import pytest

from s1ray.config.planning import ClusterConfig
from s1ray.orchestration.fine_tune.spending import Spending
from s1ray.records import StepMetrics
from tests.choices import read_choice
from tests.training.plain_loop import make_sharding


def read_cluster(name: str) -> ClusterConfig:
    return ClusterConfig.model_validate(read_choice("cluster", name))


def make_metrics(*, flops: float, seconds: float) -> StepMetrics:
    return StepMetrics(
        step=1,
        samples_consumed=4,
        epoch=0.5,
        loss_nats=1.0,
        grad_norm=1.0,
        learning_rate=1e-3,
        num_tokens=10,
        num_supervised_tokens=5,
        padding_fraction=0.0,
        balance_efficiency=1.0,
        seconds=seconds,
        tokens_per_second=1.0,
        flops=flops,
        peak_memory_gib=1.0,
    )


def spend(
    cluster: str, *, before: Mapping[str, Any] | None = None, **sharding: object
) -> Mapping[str, Any]:
    """What a run that began at 100 says at 460, of a step of 989e12 FLOPs in 2 s."""
    spending = Spending(
        read_cluster(cluster), sharding=make_sharding(**sharding), before=before, began=100.0
    )
    return spending.describe(make_metrics(flops=989e12, seconds=2.0), now=460.0)


def test_sixteen_gpus_for_six_minutes() -> None:
    costs = spend("h100_2x8_8x400g", num_workers=16, device="cuda")

    assert costs["train/model_flops_utilization"] == pytest.approx(1 / 32)
    assert costs["train/device_hours"] == pytest.approx(1.6)
    assert costs["train/dollars"] == pytest.approx(1.6 * 6.88)


def test_resumed_run_goes_on_counting() -> None:
    costs = spend(
        "h100_2x8_8x400g", num_workers=8, device="cuda", before={"train/device_hours": 3.0}
    )

    assert costs["train/device_hours"] == pytest.approx(3.8)
    assert costs["train/dollars"] == pytest.approx(3.8 * 6.88)


def test_workers_on_the_cpu_share_one_machine() -> None:
    costs = spend("laptop", num_workers=2)

    assert costs["train/device_hours"] == pytest.approx(0.1)
    assert costs["train/model_flops_utilization"] == pytest.approx(989 / 2 / 0.4)
    assert costs["train/dollars"] == 0


def test_other_hardware_than_the_described_is_not_guessed_at() -> None:
    costs = spend("laptop", num_workers=2, device="cuda")

    assert costs["train/model_flops_utilization"] is None
    assert costs["train/dollars"] is None
    assert costs["train/device_hours"] == pytest.approx(0.2)
