"""A pool on Ray Data gives what it gives in this process, byte for byte."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s1ray.config.recipe import Recipe
from s1ray.orchestration.training_data.curate import prepare_curate, run_curate
from tests.curation.torn_pool import write_torn_pool
from tests.ray_nodes import Nodes, make_blind_pair

FILES = ("selected.jsonl", "rejected.jsonl", "funnel.json", "card.json")


def _list_overrides(root: Path) -> list[str]:
    return [
        "pool=files",
        f"pool.root={root}",
        "pool.max_bad_fraction=0.2",
        "pool.max_duplicate_fraction=1.0",
        "benchmark=[gsm8k]",
        f"benchmark.gsm8k.path={root.parent / 'benchmark.jsonl'}",
        "benchmark.gsm8k.gold=verbatim",
        "quality=questions",
        "selection.length=solution_or_question_words",
    ]


def _read_outcome(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in FILES}


def _curate(
    compose: Callable[..., Recipe], root: Path, storage: Path, *overrides: str
) -> dict[str, bytes]:
    recipe = compose(*_list_overrides(root), *overrides, storage=storage)
    return _read_outcome(run_curate(prepare_curate(recipe)))


@pytest.mark.parametrize("mode", ["overlap", "s1"])
def test_ray_data_gives_the_bytes_of_judging_in_turn(
    ray_head: Path, tiny: Callable[..., Recipe], tmp_path: Path, mode: str
) -> None:
    write_torn_pool(tmp_path / "pool", seed=1)
    common = (f"decontamination={mode}",)

    in_turn = _curate(tiny, tmp_path / "pool", tmp_path / "one", *common, "screening=in_turn")
    on_ray = _curate(
        tiny,
        tmp_path / "pool",
        tmp_path / "two",
        *common,
        "screening=ray_data",
        "screening.rows_per_batch=40",
    )

    assert on_ray == in_turn
    reasons = {json.loads(line)["step"] for line in in_turn["rejected.jsonl"].splitlines()}
    assert {"sources", "decontaminate", "selection"} <= reasons


def test_a_relative_root_is_below_the_directory_of_the_job(
    ray_head: Path,
    tiny: Callable[..., Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_torn_pool(tmp_path / "pool", seed=1)
    # Ray was started elsewhere, and its processes stand there.
    monkeypatch.chdir(tmp_path)

    in_turn = _curate(tiny, Path("pool"), tmp_path / "one", "screening=in_turn")
    on_ray = _curate(tiny, Path("pool"), tmp_path / "two", "screening=ray_data")

    assert on_ray == in_turn


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """Start a head that offers no CPU and a node that finds the directory of the pool empty."""
    with make_blind_pair(tmp_path, tmp_path / "private", head_cpus=0, node_cpus=2) as cluster:
        yield cluster


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_only_the_node_of_the_job_needs_the_files(nodes: Nodes, tmp_path: Path) -> None:
    root = tmp_path / "private" / "pool"
    write_torn_pool(root, seed=1)
    common = [
        sys.executable, "-m", "jobs.curate", "experiment=tiny", *_list_overrides(root),
        f"ray.address={nodes.address}", "ray.require_token=false",
    ]  # fmt: skip

    outcomes = []
    for screening in ("in_turn", "ray_data"):
        storage = f"paths.storage={tmp_path / screening}"
        done = nodes.run(*common, f"screening={screening}", storage)
        assert done.returncode == 0, done.stderr[-3000:]
        outcomes.append(_read_outcome(Path(done.stdout.strip())))

    assert outcomes[0] == outcomes[1]
