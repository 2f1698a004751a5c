"""Evaluation and the chat server on a cluster of two nodes of which one lacks a directory."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ray_nodes import Nodes, make_blind_pair

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """Start a head and a node that finds the directory "here" empty, a CPU each."""
    with make_blind_pair(tmp_path, tmp_path / "here", head_cpus=1, node_cpus=1) as cluster:
        yield cluster


EVALUATE = ("jobs.evaluate", "serving.num_replicas=2")
SERVE = ("jobs.serve", "server.min_replicas=2", "server.max_replicas=2")


@pytest.mark.parametrize(
    ("job", "lacking", "other"),
    [
        (EVALUATE, "paths.cache", "paths.storage"),
        (SERVE, "paths.cache", "paths.storage"),
        # Its replica would take a job that it does not see for dead.
        (EVALUATE, "paths.storage", "paths.cache"),
    ],
)
def test_node_that_lacks_a_directory_is_named_before_any_replica_is_started(
    nodes: Nodes, tmp_path: Path, job: tuple[str, ...], lacking: str, other: str
) -> None:
    done = nodes.run(
        sys.executable, "-m", *job, "experiment=tiny", "target=base", "serving.num_cpus=1",
        f"{lacking}={tmp_path}/here", f"{other}={tmp_path}/everywhere",
        f"ray.address={nodes.address}", "ray.require_token=false",
    )  # fmt: skip

    assert done.returncode == 2, done.stderr[-3000:]
    assert f"{tmp_path}/here" in done.stderr
    assert "No such file or directory) cannot read it" in done.stderr
    assert lacking in done.stderr
