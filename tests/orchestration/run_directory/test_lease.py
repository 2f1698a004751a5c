"""A run directory has one writer."""

import errno
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil
import pytest

from s1ray.orchestration.run_directory.lease import LEASE, hold_lease, is_abandoned, is_held_here
from tests.orchestration.processes import hold_elsewhere
from tests.waiting import wait_until


def describe_holder() -> dict[str, Any]:
    """What a lease of this process holds."""
    with tempfile.TemporaryDirectory() as path, hold_briefly(Path(path)):
        described: dict[str, Any] = json.loads((Path(path) / LEASE).read_text(encoding="utf-8"))
        return described


def hold_briefly(path: Path) -> AbstractContextManager[None]:
    return hold_lease(path, heartbeat_seconds=1, stale_seconds=60)


def write_lease(lease: Path, **changes: object) -> None:
    """Write a lease of this process's pid, but of a process that began with the machine."""
    holder = describe_holder() | {"started": 1, "nonce": "a"}
    lease.write_text(json.dumps(holder | changes), encoding="utf-8")


def test_second_writer_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with (
        hold_elsewhere(tmp_path) as holder,
        pytest.raises(ValueError, match=str(holder.pid)),
        hold_lease(tmp_path, heartbeat_seconds=1, stale_seconds=60),
    ):
        pass


def test_killed_holder_has_lost_the_lease_at_once(tmp_path: Path) -> None:
    with hold_elsewhere(tmp_path) as holder:
        holder.kill()
        holder.wait()
    assert (tmp_path / LEASE).exists()

    with hold_lease(tmp_path, heartbeat_seconds=1, stale_seconds=60):
        held_by = json.loads((tmp_path / LEASE).read_text(encoding="utf-8"))

    assert held_by["pid"] == os.getpid()
    assert not (tmp_path / LEASE).exists()


@pytest.mark.parametrize(("silent_seconds", "is_respected"), [(10, True), (100, False)])
@pytest.mark.parametrize(
    "elsewhere",
    [{"host": "elsewhere"}, {"boot": "another"}, {"pid_namespace": 1}],
    ids=lambda changes: next(iter(changes)),
)
def test_lease_of_a_process_that_cannot_be_asked_for_is_respected_until_it_is_stale(
    tmp_path: Path, elsewhere: dict[str, Any], *, silent_seconds: float, is_respected: bool
) -> None:
    lease = tmp_path / LEASE
    write_lease(lease, **elsewhere)
    then = time.time() - silent_seconds
    os.utime(lease, (then, then))

    if is_respected:
        with (
            pytest.raises(ValueError, match="is being written by"),
            hold_lease(tmp_path, heartbeat_seconds=1, stale_seconds=60),
        ):
            pass
    else:
        with hold_lease(tmp_path, heartbeat_seconds=1, stale_seconds=60):
            assert lease.exists()


def test_run_is_abandoned_once_its_holder_is_gone_or_long_silent_elsewhere(tmp_path: Path) -> None:
    assert is_abandoned(tmp_path, stale_seconds=60)
    with hold_elsewhere(tmp_path) as holder:
        assert not is_abandoned(tmp_path, stale_seconds=0)
        holder.kill()
        holder.wait()
    assert is_abandoned(tmp_path, stale_seconds=60)

    write_lease(tmp_path / LEASE, host="elsewhere")
    assert not is_abandoned(tmp_path, stale_seconds=60)
    assert is_abandoned(tmp_path, stale_seconds=0)


def test_holder_that_has_ended_has_lost_though_its_parent_has_not_asked(tmp_path: Path) -> None:
    with hold_elsewhere(tmp_path) as holder:
        holder.kill()
        wait_until(lambda: psutil.Process(holder.pid).status() == psutil.STATUS_ZOMBIE)

        assert is_abandoned(tmp_path, stale_seconds=60)


def test_heartbeat_keeps_the_lease_fresh(tmp_path: Path) -> None:
    with hold_lease(tmp_path, heartbeat_seconds=0.05, stale_seconds=60):
        lease = tmp_path / LEASE
        os.utime(lease, (0, 0))

        wait_until(lambda: lease.stat().st_mtime > 1)


def test_pid_that_is_used_again_does_not_hold_the_lease(tmp_path: Path) -> None:
    write_lease(tmp_path / LEASE)

    with hold_briefly(tmp_path):
        assert json.loads((tmp_path / LEASE).read_text(encoding="utf-8"))["started"] > 1


def test_clock_that_steps_takes_no_lease_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = psutil.Process.create_time
    with hold_elsewhere(tmp_path):
        # The kernel's "btime" follows the clock, and every start that is counted from it does too.
        monkeypatch.setattr(psutil.Process, "create_time", lambda process: began(process) + 60)

        assert not is_abandoned(tmp_path, stale_seconds=60)


def test_holder_in_a_container_that_shares_the_hosts_name_is_alive(tmp_path: Path) -> None:
    wrapper = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip("pid namespaces need root and a kernel that has them")

    with hold_elsewhere(tmp_path, wrapper=wrapper):
        assert json.loads((tmp_path / LEASE).read_text(encoding="utf-8"))["pid"] == 1
        assert not is_abandoned(tmp_path, stale_seconds=60)


def test_lease_of_an_earlier_version_is_respected_until_it_is_stale(tmp_path: Path) -> None:
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "started": 1.7e9, "nonce": "a"}
    (tmp_path / LEASE).write_text(json.dumps(holder), encoding="utf-8")

    assert not is_abandoned(tmp_path, stale_seconds=60)
    assert is_abandoned(tmp_path, stale_seconds=0)


@pytest.mark.parametrize("content", ["", "{", '{"host": 3}'])
def test_lease_that_a_crash_left_without_its_content_is_nobodys(
    tmp_path: Path, content: str
) -> None:
    lease = tmp_path / LEASE
    lease.write_text(content, encoding="utf-8")
    os.utime(lease, (0, 0))

    with hold_lease(tmp_path, heartbeat_seconds=1, stale_seconds=60):
        assert json.loads(lease.read_text(encoding="utf-8"))["pid"] == os.getpid()


def test_holder_that_lost_its_lease_is_told_and_leaves_the_new_one_alone(tmp_path: Path) -> None:
    lease, lost = tmp_path / LEASE, threading.Event()

    with hold_lease(tmp_path, heartbeat_seconds=0.05, stale_seconds=60, on_lost=lost.set):
        write_lease(lease, host="elsewhere")
        assert lost.wait(10)

    assert json.loads(lease.read_text(encoding="utf-8"))["host"] == "elsewhere"


def test_disk_that_fails_for_a_moment_takes_no_lease_and_one_that_stays_away_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, lost, failures, touch = tmp_path / LEASE, threading.Event(), [], os.utime

    def fail(path: Path, *_: object) -> None:
        failures.append(path)
        raise OSError(errno.ESTALE, "stale file handle")

    with hold_lease(tmp_path, heartbeat_seconds=0.05, stale_seconds=30, on_lost=lost.set):
        monkeypatch.setattr(os, "utime", fail)
        wait_until(lambda: len(failures) > 3)
        monkeypatch.setattr(os, "utime", touch)
        os.utime(lease, (0, 0))
        wait_until(lambda: lease.stat().st_mtime > 1)
        assert not lost.is_set()

    with hold_lease(tmp_path, heartbeat_seconds=0.05, stale_seconds=0.2, on_lost=lost.set):
        monkeypatch.setattr(os, "utime", fail)
        assert lost.wait(10)
        monkeypatch.setattr(os, "utime", touch)


def test_lease_is_held_by_the_process_that_took_it(tmp_path: Path) -> None:
    assert not is_held_here(tmp_path)
    with hold_lease(tmp_path, heartbeat_seconds=1, stale_seconds=60):
        assert is_held_here(tmp_path)
        write_lease(tmp_path / LEASE, host="elsewhere")
        assert not is_held_here(tmp_path)


RACE = """
import sys
from pathlib import Path
from s1ray.orchestration.run_directory.lease import hold_lease
from s1ray.orchestration.run_directory.runs import RefusedError
sys.stdin.readline()
try:
    with hold_lease(Path(sys.argv[1]), heartbeat_seconds=1, stale_seconds=60):
        print("held", flush=True)
        sys.stdin.readline()
except RefusedError:
    print("refused", flush=True)
"""


def test_of_many_contenders_for_a_dead_lease_one_gets_it(tmp_path: Path) -> None:
    write_lease(tmp_path / LEASE)
    contenders = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for contender in contenders:
        assert contender.stdin is not None
        contender.stdin.write("go\n")
        contender.stdin.flush()

    answers = [contender.stdout.readline() for contender in contenders if contender.stdout]

    assert sorted(answers) == ["held\n", "refused\n", "refused\n", "refused\n"]
    for contender in contenders:
        contender.communicate("end\n")
