"""Whether freed memory stays with the process, counted in page faults of a real process."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, torch
from s1ray.training.host_memory import keep_freed_memory
if {is_kept}:
    assert keep_freed_memory()
def count():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):  # what is freed first lies beside what is asked for next; then it fits
    torch.ones(2**24)
before = count()
for _ in range(10):
    torch.ones(2**24)
print(count() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_kept_memory_is_not_asked_for_again() -> None:
    given_back, kept = (
        int(
            subprocess.run(
                [sys.executable, "-c", SCRIPT.format(is_kept=is_kept)],
                capture_output=True,
                check=True,
                text=True,
            ).stdout
        )
        for is_kept in (False, True)
    )

    assert given_back > 10 * 1000
    assert kept < given_back / 5
