"""A run directory has one writer."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from s1ray.orchestration.lease import LEASE, hold_lease

HOLD = """
import sys, time
from pathlib import Path
from s1ray.orchestration.lease import hold_lease
with hold_lease(Path(sys.argv[1]), heartbeat_seconds=0.1, stale_seconds=60):
    print("held", flush=True)
    time.sleep(60)
"""


def _hold_elsewhere(path: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_second_writer_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with _hold_elsewhere(tmp_path) as holder:
        try:
            with (
                pytest.raises(ValueError, match=str(holder.pid)),
                hold_lease(tmp_path, heartbeat_seconds=1, stale_seconds=60),
            ):
                pass
        finally:
            holder.kill()


def test_killed_holder_has_lost_the_lease_at_once(tmp_path: Path) -> None:
    with _hold_elsewhere(tmp_path) as holder:
        holder.kill()
    assert (tmp_path / LEASE).exists()

    with hold_lease(tmp_path, heartbeat_seconds=1, stale_seconds=60):
        held_by = json.loads((tmp_path / LEASE).read_text(encoding="utf-8"))

    assert held_by["pid"] == os.getpid()
    assert not (tmp_path / LEASE).exists()


@pytest.mark.parametrize(("silent_seconds", "is_respected"), [(10, True), (100, False)])
def test_lease_of_another_host_is_respected_until_it_is_stale(
    tmp_path: Path, *, silent_seconds: float, is_respected: bool
) -> None:
    lease = tmp_path / LEASE
    lease.write_text(json.dumps({"host": "elsewhere", "pid": 1}), encoding="utf-8")
    then = time.time() - silent_seconds
    os.utime(lease, (then, then))

    if is_respected:
        with (
            pytest.raises(ValueError, match="elsewhere"),
            hold_lease(tmp_path, heartbeat_seconds=1, stale_seconds=60),
        ):
            pass
    else:
        with hold_lease(tmp_path, heartbeat_seconds=1, stale_seconds=60):
            assert lease.exists()


def test_heartbeat_keeps_the_lease_fresh(tmp_path: Path) -> None:
    with hold_lease(tmp_path, heartbeat_seconds=0.05, stale_seconds=60):
        lease = tmp_path / LEASE
        os.utime(lease, (0, 0))
        deadline = time.monotonic() + 10
        while lease.stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.02)

        assert lease.stat().st_mtime > 1
