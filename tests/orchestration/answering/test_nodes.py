"""Evaluation on a cluster of two nodes of which one lacks the model."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from s1ray.orchestration.cluster.session import ROOT
from tests.ray_nodes import Nodes, make_nodes, wait_for_port

HIDE = 'mount -t tmpfs none "$1" && shift && exec "$@"'
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """Start a head and a node that finds the directory of fetched models empty, a CPU each."""
    (tmp_path / "cache").mkdir()
    veil = ("unshare", "--mount", "sh", "-c", HIDE, "sh", str(tmp_path / "cache"))
    if subprocess.run([*veil, "true"], capture_output=True, check=False).returncode:
        pytest.skip("hiding a directory needs root and a kernel that has mount namespaces")
    variables = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with make_nodes(tmp_path, with_token=False, variables=variables) as cluster:
        cluster.start_head("--num-cpus=1", "--include-dashboard=false")
        wait_for_port(cluster.host, cluster.gcs_port, cluster.processes["head"])
        cluster.join("blind", "--num-cpus=1", wrapper=veil)
        cluster.wait_for_nodes(2)
        yield cluster


def test_node_that_lacks_the_model_is_named_before_any_replica_is_started(
    nodes: Nodes, tmp_path: Path
) -> None:
    done = nodes.run(
        sys.executable, "-m", "jobs.evaluate", "experiment=tiny", "target=base",
        "serving.num_replicas=2", "serving.num_cpus=1", f"paths.cache={tmp_path}/cache",
        f"paths.storage={tmp_path}/runs", f"ray.address={nodes.address}",
        "ray.require_token=false",
    )  # fmt: skip

    assert done.returncode == 2, done.stderr[-3000:]
    assert f"{tmp_path}/cache" in done.stderr
    assert "No such file or directory) cannot read it" in done.stderr
    assert "paths.cache" in done.stderr
