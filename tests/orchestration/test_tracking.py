"""W&B as a sink, with the real client: online against a stand-in server, offline, and broken."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from s1ray.config.tracking import TrackingConfig
from s1ray.orchestration.events import EventLog
from s1ray.orchestration.runs import Run
from s1ray.orchestration.tracking import flatten_settings, resolve_mode, track
from tests.orchestration.wandb_server import WandbServer, serve_wandb


def _config(mode: str) -> TrackingConfig:
    return TrackingConfig.model_validate(
        {
            "mode": mode, "project": "s1ray-tests", "entity": "lab", "tags": ("t",),
            "poll_seconds": 0.05, "init_timeout_seconds": 5.0, "finish_timeout_seconds": 6.0,
            "table_rows": 2,
        }
    )  # fmt: skip


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    with serve_wandb() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
        yield server


def _run(path: Path) -> Run:
    path.mkdir(exist_ok=True)
    return Run(name=path.name, stage="train", path=path, identity={})


def _track_steps(run: Run, mode: str, steps: range) -> None:
    settings = {"a": {"b": 1}}
    with (
        track(run, config=_config(mode), group="g", settings=settings),
        EventLog(run.path) as log,
    ):
        for step in steps:
            log.append(step, {"train/loss": step / 2})


def _losses(server: WandbServer, run: Run) -> list[tuple[int, float]]:
    rows = server.history.get(run.name, [])
    return [(row["global_step"], row["train/loss"]) for row in rows if "train/loss" in row]


def test_track_online_every_step_arrives_once_across_a_resume(
    tmp_path: Path, server: WandbServer
) -> None:
    run = _run(tmp_path / "demo-1")

    _track_steps(run, "online", range(1, 6))
    _track_steps(run, "online", range(3, 9))

    assert _losses(server, run) == [(step, step / 2) for step in range(1, 9)]
    assert server.runs[run.name]["groupName"] == "g"


def test_track_offline_writes_the_local_file_and_remembers_how_far(tmp_path: Path) -> None:
    run = _run(tmp_path / "demo-2")

    _track_steps(run, "offline", range(1, 4))

    assert list((run.path / "wandb").glob("offline-run-*/run-demo-2.wandb"))
    position = json.loads((run.path / "tracking.json").read_text(encoding="utf-8"))
    assert position["events"] == (run.path / "events.jsonl").stat().st_size


@pytest.mark.parametrize("status", [401, 500])
def test_track_server_that_refuses_neither_fails_nor_holds_the_run(
    tmp_path: Path, server: WandbServer, status: int
) -> None:
    server.failing = status
    run = _run(tmp_path / "demo-3")
    began = time.monotonic()

    _track_steps(run, "online", range(1, 4))

    assert time.monotonic() - began < 30
    assert len((run.path / "events.jsonl").read_text(encoding="utf-8").split("\n")) == 4


def test_track_server_that_dies_in_the_middle_does_not_hold_the_run(
    tmp_path: Path, server: WandbServer
) -> None:
    run = _run(tmp_path / "demo-4")
    began = time.monotonic()

    with track(run, config=_config("online"), group="g", settings={}), EventLog(run.path) as log:
        log.append(1, {"train/loss": 1.0})
        deadline = time.monotonic() + 10
        while not (run.path / "tracking.json").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        server.failing = 500
        log.append(2, {"train/loss": 2.0})

    assert time.monotonic() - began < 40
    assert not any(thread.name == "tracking" and thread.is_alive()
                   for thread in threading.enumerate())  # fmt: skip


def test_resolve_mode_auto_is_offline_without_a_key_and_online_with_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_mode("auto") == "offline"

    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert resolve_mode("auto") == "online"


def test_flatten_settings_gives_dotted_keys_and_refuses_secrets() -> None:
    assert flatten_settings({"a": {"b": 1}, "c": (1, 2)}) == {"a.b": 1, "c": [1, 2]}
    with pytest.raises(ValueError, match="looks like a secret"):
        flatten_settings({"hub": {"api_key": "hf_x"}})
