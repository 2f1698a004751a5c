"""What a run makes of its devices: their utilisation in a step, and what it has cost so far.

It knows what the planned cluster's devices can do and cost. It does not know files.
"""

from collections.abc import Mapping
from typing import Any

from s1ray.config.planning import ClusterConfig
from s1ray.config.training import ShardingConfig
from s1ray.planning.estimate import SECONDS_PER_HOUR
from s1ray.records import StepMetrics

DEVICE_HOURS = "train/device_hours"
_TERA = 1e12


class Spending:
    """Adds up over the attempts of one run: a run that was interrupted goes on counting."""

    def __init__(
        self,
        cluster: ClusterConfig,
        *,
        sharding: ShardingConfig,
        before: Mapping[str, Any] | None,
        began: float,
    ) -> None:
        """Start an attempt.

        Args:
            cluster: ``peak_tflops`` and ``dollars_per_device_hour`` of one device.
            sharding: Of this attempt. On the CPU all workers share the cluster's devices.
            before: The last row of the run's event log; None where the run is new.
            began: Unix seconds at which this attempt began to hold its devices.
        """
        self._cluster = cluster
        self._num_devices = (
            sharding.num_workers
            if sharding.device == "cuda"
            else cluster.num_nodes * cluster.devices_per_node
        )
        self._is_known = cluster.device == sharding.device
        self._hours_before = float((before or {}).get(DEVICE_HOURS, 0.0))
        self._began = began

    def describe(self, metrics: StepMetrics, *, now: float) -> dict[str, float | str | None]:
        """Return the utilisation of a step, and device-hours and dollars up to it.

        Model FLOPs utilisation is ``StepMetrics.flops`` over what the devices could have done in
        the step's seconds at their dense peak in the compute dtype (H100 and H200: 989 TFLOP/s).
        Convention: matrix products of the parameters that multiply, so no input embedding; causal
        attention at half its square, over each document alone, however rows are packed; backward
        twice forward, and nothing for what activation checkpointing computes again. Others count
        more: 6 x all parameters and the whole square turn 51.1 % here into 57.8 %.

        Device-hours (GPU-hours on GPUs, hours of the machine on the CPU) count from the workers'
        start, so waiting for checkpoints and work that is done twice cost what they cost. An
        attempt that died is counted up to its last recorded step.

        Returns:
            None for utilisation and dollars where ``cluster`` describes other devices than the run
            is on: set ``cluster=`` to the hardware.
        """
        seconds = (now - self._began) * self._num_devices
        hours = self._hours_before + seconds / SECONDS_PER_HOUR
        peak = self._cluster.peak_tflops * _TERA * self._num_devices
        price = self._cluster.dollars_per_device_hour
        return {
            "train/model_flops_utilization": (
                metrics.flops / (metrics.seconds * peak) if self._is_known else None
            ),
            DEVICE_HOURS: hours,
            "train/dollars": hours * price if self._is_known else None,
        }
