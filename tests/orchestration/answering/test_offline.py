"""Stored results looked at again: two evaluations compared, the outputs of any system graded."""

import json
from pathlib import Path
from typing import TypeVar

import pytest
from hydra import compose, initialize_config_dir

from s1ray.config.base import Section
from s1ray.config.compare import CompareConfig
from s1ray.config.grade import GradeConfig
from s1ray.evaluation.store import write_samples
from s1ray.orchestration.answering.offline import (
    prepare_compare,
    prepare_grade,
    run_compare,
    run_grade,
)
from s1ray.orchestration.launch import CONF, parse_config
from tests.evaluation.builders import make_samples

ConfigT = TypeVar("ConfigT", bound=Section)


def _parse(primary: str, schema: type[ConfigT], *overrides: str) -> ConfigT:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return parse_config(compose(primary, overrides=list(overrides)), schema)


def _write_run(path: Path, marks: str, *, model: str, dtype: str = "bfloat16") -> Path:
    """Write what an evaluation leaves for comparisons."""
    identity = {"model": model, "label": path.name, "engine": {"dtype": dtype}}
    path.mkdir()
    (path / "run.json").write_text(json.dumps({"identity": identity}), encoding="utf-8")
    write_samples(path / "samples.jsonl", make_samples(marks))
    return path


def test_comparison_is_written_beside_b_with_the_difference_and_what_else_differs(
    tmp_path: Path,
) -> None:
    a = _write_run(tmp_path / "a", "RWRW", model="one")
    b = _write_run(tmp_path / "b", "RRRW", model="two", dtype="float32")
    config = _parse("compare", CompareConfig, f"a={a}", f"b={b}", "allow=[engine.dtype]")

    path = run_compare(prepare_compare(config))

    written = json.loads(path.read_text(encoding="utf-8"))
    [comparison] = written["comparisons"]
    difference = comparison["difference"]
    assert path.parent == b
    assert (difference["accuracy_a"], difference["accuracy_b"]) == (0.5, 0.75)
    assert difference["difference"] == 0.25
    assert difference["low"] <= 0.25 <= difference["high"]
    assert (difference["num_items"], difference["num_better"], difference["num_worse"]) == (4, 1, 0)
    assert (comparison["num_identical"], comparison["divergences"]) == (4, [])
    assert written["differs"] == [
        {"path": "engine.dtype", "a": '"bfloat16"', "b": '"float32"'},
        {"path": "label", "a": '"a"', "b": '"b"'},
        {"path": "model", "a": '"one"', "b": '"two"'},
    ]


def test_run_that_is_held_against_two_others_keeps_both_comparisons(tmp_path: Path) -> None:
    b = _write_run(tmp_path / "b", "RR", model="one")
    others = [
        _write_run(tmp_path / name, marks, model="two")
        for name, marks in (("a", "RW"), ("c", "WW"))
    ]

    paths = [
        run_compare(prepare_compare(_parse("compare", CompareConfig, f"a={other}", f"b={b}")))
        for other in others
    ]

    named = [json.loads(path.read_text(encoding="utf-8"))["a"] for path in paths]
    assert named == [str(other) for other in others]


def test_run_of_several_stages_is_refused_with_its_evaluations(tmp_path: Path) -> None:
    evaluation = _write_run(tmp_path / "tiny-trained", "R", model="one")
    whole = tmp_path / "whole"
    whole.mkdir()
    steps = {"curate": "../nowhere", "trained": "../tiny-trained"}
    (whole / "run.json").write_text(json.dumps({"steps": steps}), encoding="utf-8")

    with pytest.raises(ValueError, match=r"tiny-trained: name one of them") as refused:
        prepare_compare(_parse("compare", CompareConfig, f"a={whole}", f"b={evaluation}"))

    assert "nowhere" not in str(refused.value)


def test_comparison_of_two_protocols_is_refused(tmp_path: Path) -> None:
    a = _write_run(tmp_path / "a", "R", model="one")
    b = _write_run(tmp_path / "b", "R", model="one", dtype="float32")

    with pytest.raises(ValueError, match=r"allow=\[engine\.dtype\]"):
        prepare_compare(_parse("compare", CompareConfig, f"a={a}", f"b={b}"))


def test_stored_outputs_are_graded_row_by_row(tmp_path: Path) -> None:
    rows = [{"response": f"Answer: {n}", "answer": "7"} for n in (7, 8)]
    stored = tmp_path / "outputs.jsonl"
    stored.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = _parse(
        "grade", GradeConfig, f"input={stored}", f"output={tmp_path / 'graded.jsonl'}",
        "fields.text=response", "fields.gold=answer",
    )  # fmt: skip

    path = run_grade(prepare_grade(config))

    graded = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert path == tmp_path / "graded.jsonl"
    assert [row["verdict"] for row in graded] == ["correct", "incorrect"]
    assert [row["response"] for row in graded] == [row["response"] for row in rows]
