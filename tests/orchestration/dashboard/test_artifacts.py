"""What a run leaves beside its numbers in W&B, read back from the client's own record."""

import json
from pathlib import Path

import pytest

from s1ray.orchestration.dashboard.artifacts import ERROR
from s1ray.orchestration.dashboard.tracking import track
from s1ray.orchestration.run_directory.provenance import DIFF, ENVIRONMENT
from s1ray.orchestration.run_directory.runs import Run, begin_run, finish_run, name_run
from tests.orchestration.dashboard.tracked import make_tracking
from tests.orchestration.wandb_record import read_artifacts, read_summary

CONFIG = make_tracking("offline")


def _begin(storage: Path, stage: str) -> Run:
    run = name_run(storage=storage, stage=stage, slug="demo", identity={"a": 1})
    begin_run(run, config_yaml="a: 1\n")
    return run


def _record(run: Run) -> Path:
    [record] = run.path.glob("wandb/offline-run-*/*.wandb")
    return record


def test_weights_are_referred_to_with_their_digest_and_never_copied(tmp_path: Path) -> None:
    run = _begin(tmp_path, "train")
    (run.path / "export").mkdir()
    (run.path / "export" / "model.safetensors").write_bytes(b"weights" * 1000)

    with track(run, config=CONFIG, group="g", settings={}):
        finish_run(run, files=["export/model.safetensors"], summary={})

    artifacts = read_artifacts(_record(run))
    manifest = json.loads((run.path / "manifest.json").read_text(encoding="utf-8"))
    model = artifacts[f"model-{run.name}"]
    assert model["type"] == "model"
    assert model["metadata"]["sha256"] == manifest["files"]
    assert model["files"] == []
    assert model["references"] == [(run.path / "export" / "model.safetensors").as_uri()]
    assert ENVIRONMENT in artifacts[f"code-{run.name}"]["files"]


def test_failed_run_shows_its_traceback_before_it_ends(tmp_path: Path) -> None:
    run = _begin(tmp_path, "evaluate")

    with pytest.raises(ArithmeticError), track(run, config=CONFIG, group="g", settings={}):
        raise ArithmeticError("the sum is wrong")

    assert "ArithmeticError: the sum is wrong" in read_summary(_record(run))["error"]
    assert "Traceback" in (run.path / ERROR).read_text(encoding="utf-8")


def test_begun_run_says_with_what_code_and_packages_it_was_made(tmp_path: Path) -> None:
    run = _begin(tmp_path, "train")

    described = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    assert "\ntorch==" in (run.path / ENVIRONMENT).read_text(encoding="utf-8")
    assert (run.path / DIFF).exists() == bool(described["git"]["dirty"])
