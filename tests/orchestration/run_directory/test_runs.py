"""Run identity and manifests."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from s1ray.orchestration.run_directory import runs
from s1ray.orchestration.run_directory.provenance import DIFF
from s1ray.orchestration.run_directory.runs import (
    begin_run,
    finish_run,
    hash_identity,
    name_run,
    point_latest,
    read_manifest,
    read_summary,
    update_description,
)

IDENTITY = {"lr": 1e-5, "data": {"digest": "ab", "sizes": [1, 2]}, "lora": None}


def test_hash_identity_key_order_and_process_do_not_matter() -> None:
    reordered = {"lora": None, "data": {"sizes": [1, 2], "digest": "ab"}, "lr": 1e-5}
    module = "s1ray.orchestration.run_directory.runs"
    program = f"from {module} import hash_identity;print(hash_identity({reordered!r}))"

    other_process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()

    assert hash_identity(IDENTITY) == hash_identity(reordered) == other_process


def test_hash_identity_is_the_one_that_existing_runs_were_named_by() -> None:
    identity = {
        "stage": "train",
        "data": {"digest": "ab", "sizes": [1, 2.0, 1e-5], "is_whole": True},
        "system_prompt": "Gr\u00fc\u00dfe",
        "lora": None,
    }

    # sha256 of the identity as JSON of sorted keys, unescaped, ", " and ": " between.
    assert hash_identity(identity) == "ac44dd21"


def test_hash_identity_a_changed_value_changes_it() -> None:
    assert hash_identity(IDENTITY) != hash_identity(IDENTITY | {"lr": 2e-5})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}, {3: "x"}])
def test_hash_identity_a_value_without_stable_hash_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="identity"):
        hash_identity({"x": value})


def test_name_run_the_storage_path_does_not_change_the_name(tmp_path: Path) -> None:
    here = name_run(storage=tmp_path, stage="train", slug="demo", identity=IDENTITY)
    there = name_run(storage=Path("/elsewhere"), stage="train", slug="demo", identity=IDENTITY)

    assert here.name == there.name
    assert here.path == tmp_path / "train" / here.name


@pytest.mark.parametrize("slug", ["../x", "a/b", "", "Demo", "a" * 65, "-x"])
def test_name_run_a_slug_that_is_no_directory_name_is_refused(slug: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot name a run"):
        name_run(storage=tmp_path, stage="train", slug=slug, identity={})


def test_finished_only_with_manifest_and_every_listed_file(tmp_path: Path) -> None:
    run = name_run(storage=tmp_path, stage="curate", slug="demo", identity=IDENTITY)
    begin_run(run, config_yaml="a: 1\n")
    (run.path / "selected.jsonl").write_text("{}\n", encoding="utf-8")
    assert not run.is_finished

    finish_run(run, files=["selected.jsonl"], summary={"rows": 1})
    assert run.is_finished

    (run.path / "selected.jsonl").unlink()
    assert not run.is_finished


def test_run_that_is_begun_again_is_unfinished(tmp_path: Path) -> None:
    run = name_run(storage=tmp_path, stage="reproduce", slug="demo", identity=IDENTITY)
    begin_run(run, config_yaml="")
    finish_run(run, files=[], summary={})

    begin_run(run, config_yaml="")

    assert not run.is_finished


def test_listed_files_are_on_the_disk_before_the_manifest_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = name_run(storage=tmp_path, stage="curate", slug="demo", identity=IDENTITY)
    begin_run(run, config_yaml="")
    flushed: set[int] = set()
    fsync = os.fsync

    def note(descriptor: int) -> None:
        if not (run.path / "manifest.json").exists():
            flushed.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    (run.path / "export").mkdir()
    files = [run.path / "rejected.jsonl", run.path / "export" / "weights"]
    for file in files:
        file.write_text("{}\n", encoding="utf-8")

    finish_run(run, files=["rejected.jsonl", "export/weights"], summary={})

    for path in (*files, run.path, run.path / "export"):
        assert path.stat().st_ino in flushed


def test_manifest_torn_by_a_kill_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "x", "fi', encoding="utf-8")

    assert read_manifest(tmp_path) is None


def test_summary_of_a_run_whose_file_was_removed_is_refused_with_the_fix(tmp_path: Path) -> None:
    run = name_run(storage=tmp_path, stage="evaluate", slug="demo", identity={})
    begin_run(run, config_yaml="")
    (run.path / "samples.jsonl").touch()
    finish_run(run, files=["samples.jsonl"], summary={"seconds": 1.5})
    assert read_summary(run.path) == {"seconds": 1.5}

    (run.path / "samples.jsonl").unlink()

    with pytest.raises(RuntimeError, match=r"is gone\. Put it back, or run the same command again"):
        read_summary(run.path)


def test_begin_run_unwritable_storage_is_refused_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    run = name_run(storage=tmp_path / "file", stage="train", slug="demo", identity={})

    with pytest.raises(ValueError, match=r"paths\.storage"):
        begin_run(run, config_yaml="")


def test_run_json_says_what_the_run_is(tmp_path: Path) -> None:
    run = name_run(storage=tmp_path, stage="train", slug="demo", identity=IDENTITY)
    begin_run(run, config_yaml="")
    update_description(run, resumed_from="step 3")

    content = json.loads((run.path / "run.json").read_text(encoding="utf-8"))

    assert content["identity"] == IDENTITY
    assert content["resumed_from"] == "step 3"
    assert content["versions"]["torch"]


def test_change_that_was_committed_before_a_run_is_begun_again_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = name_run(storage=tmp_path, stage="train", slug="demo", identity={})
    told = []
    for dirty in ("a change\n", ""):
        monkeypatch.setattr(runs, "describe_process", lambda: {"git": {"sha": "1", "dirty": dirty}})  # noqa: B023
        begin_run(run, config_yaml="")
        told.append(json.loads((run.path / "run.json").read_text(encoding="utf-8"))["git"]["dirty"])
        assert (run.path / DIFF).exists() == bool(dirty)

    assert told == [hashlib.sha256(b"a change\n").hexdigest(), ""]


def test_place_below_a_file_holds_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert read_manifest(tmp_path / "file" / "train" / "demo") is None


def test_point_latest_follows_the_newest_run(tmp_path: Path) -> None:
    for slug in ("first", "second"):
        run = name_run(storage=tmp_path, stage="reproduce", slug=slug, identity={})
        begin_run(run, config_yaml="")
        point_latest(tmp_path, run)

    assert (tmp_path / "latest").resolve() == run.path
