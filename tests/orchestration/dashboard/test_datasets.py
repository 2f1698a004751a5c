"""A data set goes to the dashboard as a reference: its digest and its place, never its rows."""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from s1ray.orchestration.dashboard.datasets import declare_dataset
from s1ray.orchestration.dashboard.tracking import track
from s1ray.orchestration.run_directory.events import EventLog
from s1ray.orchestration.run_directory.provenance import ENVIRONMENT
from s1ray.orchestration.run_directory.runs import Run
from s1ray.suites.evaluation.record import read_artifacts
from tests.orchestration.dashboard.tracked import list_losses, make_tracking
from tests.orchestration.wandb_server import WandbServer

ROWS = b'{"question": "a secret of this machine"}\n'


def _run(path: Path) -> Run:
    path.mkdir()
    return Run(name=path.name, stage="curate", path=path, identity={})


def _track_dataset(run: Run, mode: str) -> None:
    with track(run, config=make_tracking(mode), group="g", settings={}), EventLog(run.path) as log:
        log.append(1, {"train/loss": 0.5})
        (run.path / "selected.jsonl").write_bytes(ROWS)
        declare_dataset(run, files=["selected.jsonl"], facts={"num_questions": 1})


def test_a_dataset_is_recorded_by_reference_with_its_digest(tmp_path: Path) -> None:
    run = _run(tmp_path / "pool-1")

    _track_dataset(run, "offline")

    [record] = (run.path / "wandb").glob("offline-run-*/run-pool-1.wandb")
    [artifact] = read_artifacts(record)
    digest = base64.b64encode(hashlib.md5(ROWS).digest()).decode()
    assert (artifact["type"], artifact["name"]) == ("dataset", "pool-1")
    assert json.loads(artifact["metadata"]) == {"num_questions": 1}
    [entry] = artifact["manifest"]["contents"]
    assert entry["ref"] == (run.path / "selected.jsonl").as_uri()
    assert (entry["path"], entry["digest"]) == ("selected.jsonl", digest)
    assert b"a secret of this machine" not in record.read_bytes()


def test_a_dataset_that_the_server_does_not_take_costs_nothing_else(
    tmp_path: Path, server: WandbServer
) -> None:
    run = _run(tmp_path / "pool-2")
    (run.path / ENVIRONMENT).write_text("torch==2\n", encoding="utf-8")
    server.artifact_types[run.name] = "model"

    _track_dataset(run, "online")

    assert list_losses(server, run) == [(1, 0.5)]
    assert server.artifacts[run.name] == [f"code-{run.name}"]


def test_a_run_that_failed_offers_no_dataset(tmp_path: Path) -> None:
    run = _run(tmp_path / "pool-3")

    with (
        pytest.raises(RuntimeError),
        track(run, config=make_tracking("offline"), group="g", settings={}),
    ):
        with EventLog(run.path) as log:
            log.append(1, {"train/loss": 0.5})
        declare_dataset(run, files=[], facts={})
        raise RuntimeError

    [record] = (run.path / "wandb").glob("offline-run-*/run-pool-3.wandb")
    assert read_artifacts(record) == []
