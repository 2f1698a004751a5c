"""A healthy node, to plant faults into."""

from dataclasses import replace
from typing import Any

from hydra import compose, initialize_config_dir

from s1ray.config.doctor import DoctorConfig
from s1ray.orchestration.doctor.gpus import Gpu
from s1ray.orchestration.doctor.probe import NodeFacts
from s1ray.orchestration.launch import CONF, parse_config

H100 = Gpu(
    name="NVIDIA H100 80GB HBM3",
    memory_gib=79.6,
    power_limit_watts=700.0,
    default_power_limit_watts=700.0,
    clock_mhz=1980.0,
    default_clock_mhz=1980.0,
    slowdowns=(),
)
HEALTHY = NodeFacts(
    host="a",
    versions={"ray": "2.60.0", "torch": "2.13.0", "transformers": "5.23.0"},
    gpus=(H100,) * 8,
    gpu_fault="",
    num_torch_gpus=8,
    storage_gib=1000.0,
    temporary_gib=100.0,
    is_token_demanded=True,
    token_mode=0o600,
    unreachable={},
)


def read_doctor(*overrides: str) -> DoctorConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return parse_config(compose("doctor", overrides=list(overrides)), DoctorConfig)


def two_nodes(**changes: Any) -> dict[str, NodeFacts]:
    """Two healthy nodes; the second one with changes."""
    return {"first": HEALTHY, "second": replace(HEALTHY, **changes)}
