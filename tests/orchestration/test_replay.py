"""A finished run is sent to W&B afterwards: by its own command again, or by ``wandb sync``."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s1ray.config.recipe import Recipe
from s1ray.orchestration.answering.evaluate import prepare_evaluate, run_evaluate
from s1ray.orchestration.dashboard.tracking import LOG
from s1ray.orchestration.run_directory.events import EventLog, read_events
from s1ray.orchestration.run_directory.runs import Run
from s1ray.orchestration.stage import name_stage, open_stage, show_finished
from tests.orchestration.wandb_server import WandbServer
from tests.ports import closed_port

Tiny = Callable[..., Recipe]
NUM_EVENTS = 30
FAST = (
    "tracking.poll_seconds=0.05", "tracking.init_timeout_seconds=60",
    "tracking.upload_timeout_seconds=60", "tracking.finish_timeout_seconds=180",
    "tracking.restart_seconds=0.1", "tracking.table_rows=4",
)  # fmt: skip
"""Quick to look, and patient with a busy machine."""


@pytest.fixture
def server(
    server: WandbServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[WandbServer]:
    """A server that nobody is logged in to yet."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY")
    yield server
    for log in tmp_path.rglob(LOG):
        sys.stdout.write(log.read_text(encoding="utf-8"))  # shown where a test failed


def _log_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)


def _finish(recipe: Recipe) -> Run:
    """Do a run of some events and one file."""
    run = name_stage(recipe, stage="train", slug="replayed", identity={})
    with open_stage(run, recipe), EventLog(run.path) as events:
        for step in range(1, NUM_EVENTS + 1):
            events.append(step, {"train/loss": 1 / step})
    return run


def _sent(server: WandbServer, run_name: str) -> list[dict[str, Any]]:
    """The run's events as the server has them: what the client adds begins with an underscore."""
    return [
        {key: value for key, value in row.items() if not key.startswith("_")}
        for row in server.history.get(run_name, [])
        if not any(key.startswith("samples") for key in row)
    ]


def _recorded(path: Path) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in row.items() if key != "time"} for row in read_events(path)
    ]


@pytest.mark.parametrize("mode", ["auto", "disabled"])
def test_finished_run_is_sent_by_its_command_once_somebody_is_logged_in(
    tiny: Tiny, server: WandbServer, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    run = _finish(tiny(*FAST, f"tracking.mode={mode}"))
    assert server.runs == {}
    _log_in(monkeypatch)

    show_finished(run, tiny(*FAST, "tracking.mode=auto"))

    assert _sent(server, run.name) == _recorded(run.path)
    assert len(_recorded(run.path)) == NUM_EVENTS
    server.runs.clear()
    show_finished(run, tiny(*FAST, "tracking.mode=auto"))
    assert server.runs == {}


def test_run_whose_server_was_not_there_is_sent_by_its_command_later(
    tiny: Tiny, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    _log_in(monkeypatch)
    with monkeypatch.context() as away, closed_port() as port:
        away.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
        run = _finish(tiny(*FAST, "tracking.mode=auto", "tracking.init_timeout_seconds=5"))
    assert server.runs == {}

    show_finished(run, tiny(*FAST, "tracking.mode=auto"))

    assert _sent(server, run.name) == _recorded(run.path)


def test_online_asked_for_by_name_sends_what_a_refusing_server_lacks(
    tiny: Tiny, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    _log_in(monkeypatch)
    recipe = tiny(*FAST, "tracking.mode=online")
    server.failing = 401
    run = _finish(recipe)
    assert _sent(server, run.name) == []
    server.failing = None

    for _ in range(2):
        show_finished(run, recipe)
        assert _sent(server, run.name) == _recorded(run.path)


def test_offline_record_of_a_finished_run_goes_with_wandb_sync(
    tiny: Tiny, server: WandbServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = _finish(tiny(*FAST, "tracking.mode=offline"))
    [record] = run.path.glob("wandb/offline-run-*")
    _log_in(monkeypatch)

    wandb = str(Path(sys.executable).with_name("wandb"))
    # It leaves a directory of its own where it is run.
    subprocess.run([wandb, "sync", str(record)], cwd=tmp_path, check=True, timeout=120)

    assert _sent(server, run.name) == _recorded(run.path)


@pytest.mark.usefixtures("ray_head")
def test_finished_evaluation_is_replayed_with_its_answers(
    tiny: Tiny, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = run_evaluate(prepare_evaluate(tiny("tracking.mode=disabled")))
    results = json.loads((path / "results.json").read_text(encoding="utf-8"))
    _log_in(monkeypatch)

    run_evaluate(prepare_evaluate(tiny(*FAST, "tracking.mode=online")))

    assert _sent(server, path.name) == _recorded(path)
    rows = server.history[path.name]
    tables = [row["samples"]["nrows"] for row in rows if "samples" in row]
    assert sum(tables) == sum(point["num_samples"] for point in results["points"])
    assert {f"code-{path.name}", f"samples-{path.name}"} < set(server.artifacts[path.name])
