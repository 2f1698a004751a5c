"""NVIDIA's own energy counter, under a load of known length."""

import time

import pytest
import torch

from s1ray.orchestration.fine_tune.energy import open_counter

pytestmark = pytest.mark.gpu

LEAST_WATTS, MOST_WATTS = 50, 1000
"""An idle data-centre GPU draws about 70 W, and none of those sold by 2026 is allowed 1,000 W."""


def test_counter_counts_joules() -> None:
    pytest.importorskip("pynvml")
    counter = open_counter()
    assert counter is not None
    factor = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
    began, before = time.perf_counter(), counter()
    while time.perf_counter() - began < 3:
        factor @ factor
        torch.cuda.synchronize()
    watts = (counter() - before) / (time.perf_counter() - began)

    assert LEAST_WATTS < watts < MOST_WATTS
