"""The doctor on real Ray clusters of two nodes: healthy, and with faults planted into one node."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from s1ray.orchestration.cluster.session import ROOT
from tests.ray_nodes import RAY, Nodes, make_nodes, wait_for_port
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
CLOSED = "http://127.0.0.1:9"
PLANNED = ["cluster.num_nodes=2", "cluster.measured_node_gbit=0.1"]
CHECKS = {
    "nodes", "versions", "gpus", "clocks and power", "clocks", "shared storage", "free disk",
    "network", "wandb", "hub", "token", "secrets",
}  # fmt: skip
OFFLINE = [f"service_urls.wandb={CLOSED}", f"service_urls.hub={CLOSED}", "connect_seconds=2"]


def _examine(nodes: Nodes, *overrides: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Return exit code, and verdict and finding by check."""
    command = [sys.executable, "-m", "jobs.doctor", f"ray.address={nodes.address}"]
    done = nodes.run(*command, *OFFLINE, *overrides, PYTHONPATH=str(ROOT), COLUMNS="500")
    lines = re.findall(r"^(ok|warn|FAIL) +(\S.*?)  +(.*)$", done.stderr, re.MULTILINE)
    assert lines, done.stderr
    return done.returncode, {check: (verdict, found) for verdict, check, found in lines}


def _start(nodes: Nodes, **second: object) -> None:
    nodes.start_head("--num-cpus=1")
    wait_for_port(nodes.host, nodes.dashboard_port, nodes.processes["head"])
    nodes.join("second", "--num-cpus=1", **second)
    nodes.wait_for_nodes(2)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with make_nodes(tmp_path_factory.mktemp("healthy")) as nodes:
        _start(nodes)
        yield nodes


def test_a_healthy_cluster_passes(healthy: Nodes, tmp_path: Path) -> None:
    code, found = _examine(healthy, *PLANNED, f"paths.storage={tmp_path}")

    failed = [check for check, (verdict, _) in found.items() if verdict == "FAIL"]
    assert (code, failed) == (0, [])
    assert set(found) == CHECKS
    assert not list(tmp_path.iterdir())


def test_a_plan_that_promises_more_than_there_is_fails(healthy: Nodes, tmp_path: Path) -> None:
    code, found = _examine(
        healthy,
        "cluster=h100_2x8_8x400g",
        "cluster.device=cpu",  # the network of two nodes of H100, on this machine's cores
        "cluster.num_nodes=3",
        "tracking.mode=online",
        "needs_hub=true",
        "min_storage_gib=1000000",
        f"paths.storage={tmp_path}",
    )

    failed = {check for check, (verdict, _) in found.items() if verdict == "FAIL"}
    assert code == 1
    assert failed == {"nodes", "network", "wandb", "hub", "free disk"}


def test_gpus_that_are_not_there_are_found(healthy: Nodes, tmp_path: Path) -> None:
    code, found = _examine(healthy, "cluster=h100_1x8", f"paths.storage={tmp_path}")

    assert code == 1
    assert found["gpus"][0] == "FAIL"


def test_a_secret_in_a_jobs_runtime_env_is_found(healthy: Nodes, tmp_path: Path) -> None:
    command = [str(RAY), "job", "submit", "--runtime-env-json"]
    exposed = {"env_vars": {"WANDB_API_KEY": "0123456789abcdef"}}
    words = [*command, json.dumps(exposed), "--", "true"]
    # A head that has just started takes no jobs yet.
    wait_until(lambda: healthy.run(*words).returncode == 0)

    code, found = _examine(healthy, *PLANNED, f"paths.storage={tmp_path}")

    verdict, what = found["secrets"]
    assert (code, verdict) == (1, "FAIL")
    assert "WANDB_API_KEY in its runtime_env" in what
    assert "0123456789abcdef" not in what


def _plant(home: Path) -> dict[str, str]:
    """Return the environment of a node with another transformers and a throttled GPU."""
    planted = home / "planted"
    metadata = planted / "transformers-0.0.1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: transformers\nVersion: 0.0.1\n"
    )
    driver = planted / "nvidia-smi"
    driver.write_text(
        "#!/bin/sh\necho 'NVIDIA H100, 81559, 250.00, 700.00, 1980, 1980, Not Active, Not Active'\n"
    )
    driver.chmod(0o755)
    token = planted / "token"
    token.write_bytes((home / "token").read_bytes())
    token.chmod(0o644)
    return {
        "PYTHONPATH": str(planted),
        "PATH": f"{planted}:{RAY.parent}:/usr/bin:/bin",
        "RAY_AUTH_TOKEN_PATH": str(token),
    }


def test_faults_of_one_node_are_found_in_one_examination(tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    storage.mkdir()
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("hiding a directory from one node needs root")
    home = tmp_path / "ray"
    home.mkdir()
    with make_nodes(home) as nodes:
        # The second node sees an empty file system where the shared storage should be.
        script = f'mount -t tmpfs tmpfs {storage} && exec "$@"'
        wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
        _start(nodes, environment=_plant(home), wrapper=wrapper)

        code, found = _examine(
            nodes, *PLANNED, "storage_seconds=1", "min_storage_gib=0.001",
            f"paths.storage={storage}",
        )  # fmt: skip

    failed = {check for check, (verdict, _) in found.items() if verdict == "FAIL"}
    assert code == 1
    assert failed == {"versions", "clocks and power", "shared storage", "token"}
    assert "0.0.1" in found["versions"][1]
    assert "250 of 700 W" in found["clocks and power"][1]
    assert "0o644" in found["token"][1]


def test_a_node_that_died_is_found(tmp_path: Path) -> None:
    home = tmp_path / "ray"
    home.mkdir()
    with make_nodes(home) as nodes:
        _start(nodes)
        nodes.kill("second")
        nodes.wait_for_nodes(1)

        code, found = _examine(nodes, *PLANNED, f"paths.storage={tmp_path}")

    assert code == 1
    assert found["nodes"][0] == "FAIL"
    assert "1 dead" in found["nodes"][1]


def test_a_cluster_that_does_not_answer_is_found(tmp_path: Path) -> None:
    home = tmp_path / "ray"
    home.mkdir()
    with make_nodes(home) as nodes:
        code, found = _examine(nodes, f"paths.storage={tmp_path}")

    assert code == 1
    assert found["cluster"][0] == "FAIL"
