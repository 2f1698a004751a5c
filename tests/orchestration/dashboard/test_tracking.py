"""W&B as a sink, with the real client: online against a stand-in server, offline, and broken."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import wandb
from wandb.sdk.lib.urls import DEFAULT_BASE_URL
from wandb.sdk.lib.wbauth import wbnetrc

from s1ray.config.tracking import TrackingConfig
from s1ray.orchestration.cluster.session import ROOT
from s1ray.orchestration.dashboard.sink import LOCK
from s1ray.orchestration.dashboard.tracking import flatten_settings, resolve_mode, track
from s1ray.orchestration.run_directory.events import EventLog, read_events
from s1ray.orchestration.run_directory.runs import Run
from s1ray.suites.evaluation.record import read_history
from tests.orchestration.dashboard.tracked import list_losses, make_tracking
from tests.orchestration.processes import is_alive, running
from tests.orchestration.wandb_server import WandbServer
from tests.ports import closed_port
from tests.waiting import wait_until

FINISH_SECONDS = 6.0
KEY = "0" * 40
MARGIN_SECONDS = 20.0
"""What a busy machine may add to a limit."""


def _run(path: Path) -> Run:
    path.mkdir(exist_ok=True)
    return Run(name=path.name, stage="train", path=path, identity={})


def _track_steps(run: Run, config: TrackingConfig, steps: range) -> None:
    settings = {"a": {"b": 1}}
    with (
        track(run, config=config, group="g", settings=settings),
        EventLog(run.path) as log,
    ):
        for step in steps:
            log.append(step, {"train/loss": step / 2})


def test_track_online_every_step_arrives_once_across_a_resume(
    tmp_path: Path, server: WandbServer
) -> None:
    run = _run(tmp_path / "demo-1")

    _track_steps(run, make_tracking("online"), range(1, 6))
    _track_steps(run, make_tracking("online"), range(3, 9))

    assert list_losses(server, run) == [(step, step / 2) for step in range(1, 9)]
    assert server.runs[run.name]["groupName"] == "g"


def test_track_offline_keeps_one_record_of_the_whole_run(tmp_path: Path) -> None:
    run = _run(tmp_path / "demo-2")

    _track_steps(run, make_tracking("offline"), range(1, 4))
    _track_steps(run, make_tracking("offline"), range(3, 6))

    [record] = (run.path / "wandb").glob("offline-run-*/run-demo-2.wandb")
    rows = read_history(record)
    assert [row["global_step"] for row in rows] == [1, 2, 3, 4, 5]


def _time_end(run: Run, *, before_end: Callable[[], object]) -> float:
    """Track two steps and return the seconds between the end of the work and the end of the run."""
    config = make_tracking("online", init_seconds=2.0, finish_seconds=FINISH_SECONDS)
    with track(run, config=config, group="g", settings={}):
        with EventLog(run.path) as log:
            log.append(1, {"train/loss": 1.0})
            before_end()
            log.append(2, {"train/loss": 2.0})
        ended = time.monotonic()
    return time.monotonic() - ended


def _assert_whole(run: Run, seconds: float) -> None:
    assert seconds < FINISH_SECONDS + MARGIN_SECONDS
    assert [row["global_step"] for row in read_events(run.path)] == [1, 2]
    assert not any(thread.name == "tracking" for thread in threading.enumerate())


@pytest.mark.parametrize("status", [401, 500])
def test_track_server_that_refuses_holds_the_run_no_longer_than_its_limit(
    tmp_path: Path, server: WandbServer, status: int
) -> None:
    server.failing = status
    run = _run(tmp_path / "demo-3")

    _assert_whole(run, _time_end(run, before_end=lambda: None))


@pytest.fixture(params=[False, True], ids=["no client", "a client"])
def job_client(request: pytest.FixtureRequest) -> Iterator[None]:
    """The job's own W&B client, which its children would share."""
    if request.param:
        wandb.setup()
    yield
    wandb.teardown()


@pytest.mark.usefixtures("job_client")
def test_track_server_that_is_not_there_is_recorded_offline(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run(tmp_path / "demo-5")

    with closed_port() as port:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
        _track_steps(run, make_tracking("online", init_seconds=2.0), range(1, 3))

    [record] = (run.path / "wandb").glob("offline-run-*/run-demo-5.wandb")
    assert [row["global_step"] for row in read_history(record)] == [1, 2]


@pytest.mark.slow  # the client sends its first rows after 15 seconds
def test_track_server_that_dies_in_the_middle_holds_the_run_no_longer_than_its_limit(
    tmp_path: Path, server: WandbServer
) -> None:
    run = _run(tmp_path / "demo-4")

    def die() -> None:
        wait_until(lambda: list_losses(server, run))
        server.failing = 500

    _assert_whole(run, _time_end(run, before_end=die))


@pytest.mark.parametrize("is_from_the_start", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_track_server_that_hangs_holds_the_run_no_longer_than_its_limit(
    tmp_path: Path, server: WandbServer, *, is_from_the_start: bool
) -> None:
    run = _run(tmp_path / "demo-6")
    if is_from_the_start:
        server.answering.clear()

    def hang() -> None:
        if not is_from_the_start:
            wait_until(lambda: list_losses(server, run))
        server.answering.clear()

    _assert_whole(run, _time_end(run, before_end=hang))


def _kill_sink(run: Run) -> int:
    pid = int((run.path / LOCK).read_text(encoding="utf-8"))
    os.kill(pid, signal.SIGKILL)
    return pid


@pytest.mark.parametrize("mode", [pytest.param("online", marks=pytest.mark.slow), "offline"])
def test_track_sink_killed_twice_loses_and_doubles_nothing(
    tmp_path: Path, server: WandbServer, mode: str
) -> None:
    run = _run(tmp_path / "demo-7")
    lock = run.path / LOCK
    killed: list[int] = []

    def is_another_up() -> bool:
        text = lock.read_text(encoding="utf-8") if lock.exists() else ""
        return text.isdigit() and int(text) not in killed

    with track(run, config=make_tracking(mode), group="g", settings={}), EventLog(run.path) as log:
        for step in range(1, 101):
            log.append(step, {"train/loss": step / 2})
            if step in (40, 80):
                wait_until(is_another_up)
                if mode == "online":
                    wait_until(lambda: list_losses(server, run))
                killed.append(_kill_sink(run))

    assert all(not is_alive(pid) for pid in killed)
    if mode == "online":
        found = list_losses(server, run)
    else:
        [record] = (run.path / "wandb").glob("offline-run-*/run-demo-7.wandb")
        found = [(row["global_step"], row["train/loss"]) for row in read_history(record)]
    assert found == [(step, step / 2) for step in range(1, 101)]


JOB = """
import sys, time
from pathlib import Path
from s1ray.orchestration.run_directory.events import EventLog, read_events
from s1ray.orchestration.run_directory.runs import Run
from s1ray.orchestration.dashboard.tracking import track
from tests.orchestration.dashboard.tracked import make_tracking
path, first = Path(sys.argv[1]), int(sys.argv[2])
run = Run(name=path.name, stage="train", path=path, identity={})
with track(run, config=make_tracking("online"), group="g", settings={}), EventLog(path) as log:
    for step in range(1, first + 1):
        log.append(step, {"train/loss": step / 2})
    if sys.argv[3] == "wait":
        time.sleep(600)
"""


@pytest.mark.slow  # the client sends its first rows after 15 seconds
def test_track_killed_job_leaves_no_sink_and_goes_on_where_the_server_stands(
    tmp_path: Path, server: WandbServer
) -> None:
    run = _run(tmp_path / "demo-8")
    command = [sys.executable, "-c", JOB, str(run.path)]
    with running([*command, "8", "wait"], cwd=ROOT):
        wait_until(lambda: list_losses(server, run))
        sink = int((run.path / LOCK).read_text(encoding="utf-8"))
    wait_until(lambda: not is_alive(sink))

    subprocess.run([*command, "10", "end"], cwd=ROOT, check=True)

    assert list_losses(server, run) == [(step, step / 2) for step in range(1, 11)]


@pytest.fixture
def logged_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a home in which no key of W&B's is at hand."""
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("logged_out")
def test_resolve_mode_auto_is_offline_without_a_key_and_online_with_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert resolve_mode("auto") == "offline"

    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert resolve_mode("auto") == "online"


@pytest.mark.parametrize(
    ("place", "machine", "variables"),
    [
        (".netrc", "api.wandb.ai", {}),
        (".netrc", "api.forge.coreweave.com", {}),
        ("_netrc", "api.wandb.ai", {}),
        ("elsewhere", "api.wandb.ai", {"NETRC": "~/elsewhere"}),
        (".netrc", "wandb.corp", {"WANDB_BASE_URL": "https://wandb.corp/"}),
        (".netrc", "localhost:8080", {"WANDB_BASE_URL": "http://localhost:8080"}),
    ],
)
def test_resolve_mode_finds_the_key_where_the_client_does(
    logged_out: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    machine: str,
    variables: dict[str, str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert resolve_mode("auto") == "offline"

    (logged_out / place).write_text(f"machine {machine} login user password {KEY}\n")

    assert resolve_mode("auto") == "online"
    assert wbnetrc.read_netrc_auth(host=variables.get("WANDB_BASE_URL", DEFAULT_BASE_URL)) == KEY


@pytest.mark.parametrize("content", [b"machine a login b password", b"\xff\xfe\x00"])
def test_resolve_mode_is_offline_where_netrc_says_nothing(logged_out: Path, content: bytes) -> None:
    (logged_out / ".netrc").write_bytes(content)

    assert resolve_mode("auto") == "offline"


def test_resolve_mode_is_offline_where_netrc_cannot_be_read(logged_out: Path) -> None:
    (logged_out / ".netrc").mkdir()

    assert resolve_mode("auto") == "offline"


def test_flatten_settings_gives_dotted_keys() -> None:
    assert flatten_settings({"a": {"b": 1}, "c": (1, 2)}) == {"a.b": 1, "c": [1, 2]}
