"""A place of its own for the Ray of a sweep that is started as users start it."""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest


@pytest.fixture
def home() -> Iterator[Path]:
    """Yield a directory for RAY_TMPDIR, and kill whatever still names it afterwards."""
    # Not tmp_path: a socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(
        prefix="s1ray-", dir="/tmp", ignore_cleanup_errors=True
    ) as path:
        yield Path(path)
        for process in psutil.process_iter(["cmdline"]):
            if path in " ".join(process.info["cmdline"] or []):
                with suppress(psutil.NoSuchProcess):  # it has just ended by itself
                    process.kill()
