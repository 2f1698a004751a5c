"""Curation as a job: what names a selection, and what is refused before a pool is read."""

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
