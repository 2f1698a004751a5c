"""The gpu suite: slices of the 32B model on one GPU, and its two kernels against the plain way.

It needs no Ray, so that it runs on a machine that has torch and transformers alone.
"""

from collections.abc import Mapping

import torch

from s1ray.config.suites.gpu import GpuSuiteSettings
from s1ray.suites.gpu.kernels import compare_attention, compare_cross_entropy
from s1ray.suites.gpu.slices import measure_slices
from s1ray.suites.suite import Outcome, Part


def _measure_attention(settings: GpuSuiteSettings) -> Outcome:
    return compare_attention(
        settings.attention,
        backend=settings.sharding.attention,
        device=torch.device(settings.sharding.device),
        num_pairs=settings.num_pairs,
    )


def _measure_cross_entropy(settings: GpuSuiteSettings) -> Outcome:
    return compare_cross_entropy(
        settings.cross_entropy,
        device=torch.device(settings.sharding.device),
        num_pairs=settings.num_pairs,
    )


SETTINGS = GpuSuiteSettings
PARTS: Mapping[str, Part] = {
    "slices": measure_slices,
    "attention": _measure_attention,
    "cross_entropy": _measure_cross_entropy,
}
