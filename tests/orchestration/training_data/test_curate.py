"""Curation as a job: what names a selection, and what is refused before a pool is read."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from s1ray.config.recipe import Recipe
from s1ray.orchestration.training_data.curate import prepare_curate

Tiny = Callable[..., Recipe]


def _name(tiny: Tiny, labels: Path) -> str:
    return prepare_curate(tiny("diversity=labels", f"diversity.path={labels}")).run.name


def test_selection_is_named_by_what_its_labels_say_and_not_by_where_they_lie(
    tiny: Tiny, tmp_path: Path
) -> None:
    here, there = tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    here.write_text('{"id": "a", "domain": "algebra"}\n', encoding="utf-8")
    there.write_bytes(here.read_bytes())
    name = _name(tiny, here)

    assert _name(tiny, there) == name
    here.write_text('{"id": "a", "domain": "geometry"}\n', encoding="utf-8")
    assert _name(tiny, here) != name


def test_labels_that_cannot_be_read_are_refused_before_the_pool_is(
    tiny: Tiny, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"diversity\.path"):
        _name(tiny, tmp_path / "none.jsonl")


def test_selection_is_named_by_its_pools_files_and_not_by_where_they_lie(
    tiny: Tiny, tmp_path: Path
) -> None:
    row = {"question": "What is 1 + 1?", "answer": "2", "solution": "1 + 1 = 2", "domain": "sums"}

    def name(directory: str, **changes: str) -> str:
        root = tmp_path / directory
        root.mkdir()
        (root / "mine.jsonl").write_text(json.dumps(row | changes) + "\n", encoding="utf-8")
        return prepare_curate(tiny("pool=files", f"pool.root={root}")).run.name

    assert name("here") == name("there")
    assert name("elsewhere", answer="3") != name("back")


def test_difficulty_that_selection_does_without_is_said_and_names_no_other_run(tiny: Tiny) -> None:
    without, unused = prepare_curate(tiny()), prepare_curate(tiny("difficulty=level"))
    applied = prepare_curate(tiny("difficulty=level", "selection.after_difficulty=true"))

    assert "drops nothing" not in without.list_steps()[0].cost + applied.list_steps()[0].cost
    assert "difficulty.kind=level drops nothing" in unused.list_steps()[0].cost
    assert unused.run.name == without.run.name
    assert applied.run.name != unused.run.name
