"""Evaluation and the chat server on a cluster of two nodes of which one lacks the model."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ray_nodes import Nodes, make_blind_pair

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """Start a head and a node that finds the directory of fetched models empty, a CPU each."""
    with make_blind_pair(tmp_path, tmp_path / "cache", head_cpus=1, node_cpus=1) as cluster:
        yield cluster


@pytest.mark.parametrize(
    "job",
    [
        ("jobs.evaluate", "serving.num_replicas=2"),
        ("jobs.serve", "server.min_replicas=2", "server.max_replicas=2"),
    ],
)
def test_node_that_lacks_the_model_is_named_before_any_replica_is_started(
    nodes: Nodes, tmp_path: Path, job: tuple[str, ...]
) -> None:
    done = nodes.run(
        sys.executable, "-m", *job, "experiment=tiny", "target=base",
        "serving.num_cpus=1", f"paths.cache={tmp_path}/cache",
        f"paths.storage={tmp_path}/runs", f"ray.address={nodes.address}",
        "ray.require_token=false",
    )  # fmt: skip

    assert done.returncode == 2, done.stderr[-3000:]
    assert f"{tmp_path}/cache" in done.stderr
    assert "No such file or directory) cannot read it" in done.stderr
    assert "paths.cache" in done.stderr
