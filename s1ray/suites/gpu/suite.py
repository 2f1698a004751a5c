"""The gpu suite: slices of the 32B model on one GPU, and its two kernels against the plain way.

It needs no Ray, so that it runs on a machine that has torch and transformers alone.
"""

from collections.abc import Mapping

import torch

from s1ray.config.suites.gpu import GpuSuiteSettings
from s1ray.orchestration.run_directory.runs import RefusedError
from s1ray.suites.gpu.slices import measure_slices
from s1ray.suites.kernels import KERNELS
from s1ray.suites.suite import Check, Part


def check_device(settings: GpuSuiteSettings) -> None:
    """Check that there is what the suite trains on.

    Raises:
        RefusedError: There is no CUDA device.
    """
    if settings.sharding.device == "cuda" and not torch.cuda.is_available():
        raise RefusedError(
            "suite=gpu measures an NVIDIA GPU, and torch finds none here. Run it where one is, "
            "with torch's CUDA build; suite=training measures on processors."
        )


SETTINGS = GpuSuiteSettings
PARTS: Mapping[str, Part] = {
    "slices": measure_slices,
    **KERNELS,
}
CHECKS: Mapping[str, Check] = dict.fromkeys(PARTS, check_device)
