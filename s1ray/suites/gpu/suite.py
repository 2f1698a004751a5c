"""The gpu suite: slices of the 32B model on one GPU, and its two kernels against the plain way.

It needs no Ray, so that it runs on a machine that has torch and transformers alone.
"""

from collections.abc import Mapping

from s1ray.config.suites.gpu import GpuSuiteSettings
from s1ray.suites.gpu.slices import measure_slices
from s1ray.suites.kernels import KERNELS
from s1ray.suites.suite import Part

SETTINGS = GpuSuiteSettings
PARTS: Mapping[str, Part] = {
    "slices": measure_slices,
    **KERNELS,
}
