"""The model of the tests that run in vLLM's environment."""

import os
from pathlib import Path

import pytest

VARIABLE = "S1RAY_CONFORMANCE_MODEL"
"""Names its directory; ``make test-vllm`` sets it."""


def find_vllm_model() -> Path:
    """Return the model's directory; without it or without vLLM the test is skipped."""
    pytest.importorskip("vllm", reason="vLLM is not in this environment")
    if VARIABLE not in os.environ:
        pytest.skip(f"{VARIABLE} names no model directory")
    return Path(os.environ[VARIABLE])
