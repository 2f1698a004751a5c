"""Pools of any size, and sides that select the same questions from them."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from s1ray.config.pool import PoolConfig
from s1ray.config.recipe import Recipe
from s1ray.config.suites.curation import CurationSettings
from s1ray.curation.pool.items import PoolItem
from s1ray.curation.pool.sources import Pool
from s1ray.suites.curation.pools import write_pool
from s1ray.suites.curation.suite import measure_pairs
from tests.curation.declared import declare_pool
from tests.curation.torn_pool import write_torn_pool

has_datasets = importlib.util.find_spec("datasets") is not None


def _declare_origin(root: Path) -> PoolConfig:
    root.mkdir()
    rows = [
        {"q": f"Why is {word} number {n}?", "a": "1"} for n, word in enumerate(["ab", "yz", "Z"])
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (root / "rows.jsonl").write_text(text, encoding="utf-8")
    return declare_pool(str(root))


def _read_texts(pool: PoolConfig) -> list[str]:
    return [row.trace.question.text for row in Pool(pool) if isinstance(row, PoolItem)]


def test_a_larger_pool_repeats_the_questions_with_other_letters(tmp_path: Path) -> None:
    origin = _declare_origin(tmp_path / "origin")

    written = write_pool(origin, tmp_path / "made", num_rows=6, copy_rows=3)

    assert _read_texts(written) == [
        "Why is ab number 0?",
        "Why is yz number 1?",
        "Why is Z number 2?",
        "Xiz jt bc ovncfs 0?",
        "Xiz jt za ovncfs 1?",
        "Xiz jt A ovncfs 2?",
    ]


def test_a_smaller_pool_is_the_same_draw_every_time(tmp_path: Path) -> None:
    origin = _declare_origin(tmp_path / "origin")

    drawn = [
        _read_texts(write_pool(origin, tmp_path / name, num_rows=2, copy_rows=3))
        for name in ("one", "two")
    ]

    assert drawn[0] == drawn[1]
    assert len(set(drawn[0]) & set(_read_texts(origin))) == 2


@pytest.mark.slow
def test_every_side_selects_the_same(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    write_torn_pool(tmp_path / "pool", seed=2)
    recipe = tiny(
        "pool=files", f"pool.root={tmp_path / 'pool'}", "pool.max_bad_fraction=0.2",
        "pool.max_duplicate_fraction=1.0", "decontamination=overlap", "quality=questions",
        "screening=ray_data", "benchmark=[gsm8k]", "benchmark.gsm8k.gold=verbatim",
        f"benchmark.gsm8k.path={tmp_path / 'benchmark.jsonl'}",
    )  # fmt: skip
    settings = CurationSettings.model_validate(
        {
            "kind": "curation", "num_pairs": 1, "data": str(tmp_path), "num_selected": 50,
            "sides": ["ray_data", "in_turn", *(["datasets"] if has_datasets else [])],
            "sizes": [300, 800], "whole_sides": ["in_turn"], "whole_sizes": [1],
            "copy_rows": 400, "num_processes": 2, "sample_seconds": 0.1,
            **{
                name: getattr(recipe, name).model_dump()
                for name in ("pool", "decontamination", "quality", "screening", "ray")
            },
            "benchmark": {"gsm8k": recipe.benchmark["gsm8k"].model_dump()},
        }
    )  # fmt: skip

    outcome = measure_pairs(settings, recipe.paths)

    for size in ("300_rows", "800_rows"):
        assert outcome.results[size]["ray_data"]["rows_per_second"]["median"] > 0
        assert outcome.results[size]["in_turn_seconds_over_ray_data"]["median"] > 0
