"""Reference data beside the checkout: true s1K rows, graded outputs, pools, a tokenizer."""

import os
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"
REQUIRED = "S1RAY_REQUIRE_SHARED"
"""Set where the data must be there: what rests on it fails then, and is not skipped."""


def find_reference(name: str) -> Path:
    """Return a file or directory of the reference data; without it the test is skipped or fails."""
    path = DATA / name
    if path.exists():
        return path
    if os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set, and there is no {path}")
    pytest.skip(f"the reference data is not here: {path}")
