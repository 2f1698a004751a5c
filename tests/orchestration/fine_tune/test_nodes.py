"""A cluster of three nodes on this machine that loses them one by one under a fine-tune."""

import json
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from s1ray.config.recipe import Recipe
from s1ray.orchestration.cluster.session import ROOT
from s1ray.orchestration.fine_tune.train import prepare_train, run_train
from s1ray.orchestration.fine_tune.train_worker import START
from s1ray.training.checkpoints.difference import Comparison, compare_states
from s1ray.training.checkpoints.restoration import read_checkpoint
from s1ray.training.checkpoints.search import find_newest_checkpoint
from s1ray.training.fine_tune import CHECKPOINTS
from tests.orchestration.faults import NODE, STEP, Fault, train_with_fault
from tests.ray_nodes import Nodes, make_nodes, wait_for_port
from tests.recipes import compose_tiny

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Start a head and two nodes that may be taken away, one CPU each."""
    variables = {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5",
    }
    home = tmp_path_factory.mktemp("cluster")
    with make_nodes(home, with_token=False, variables=variables) as cluster:
        cluster.start_head("--num-cpus=1", "--include-dashboard=false")
        wait_for_port(cluster.host, cluster.gcs_port, cluster.processes["head"])
        # In turn: of two that start at once on one address, one times out (Ray 2.60).
        for count, name in enumerate(("b", "c"), start=2):
            cluster.join(name, "--num-cpus=1", environment={NODE: name})
            cluster.wait_for_nodes(count)
        yield cluster


def train_on(recipe: Recipe, fault: Fault) -> Path:
    """Run a whole job with a fault in a process of its own, and return its directory."""
    job = multiprocessing.get_context("spawn").Process(
        target=train_with_fault, args=(recipe, fault)
    )
    job.start()
    job.join()
    assert job.exitcode == 0
    assert fault.marker.exists()
    return prepare_train(recipe).run.path


def compare_last(expected: Path, found: Path, *, is_close: bool) -> Comparison:
    states = []
    for run_path in (expected, found):
        newest = find_newest_checkpoint(run_path / CHECKPOINTS, num_threads=1).newest
        assert newest is not None
        assert newest.step == 6
        states.append(read_checkpoint(Path(newest.path)))
    return compare_states(
        *states,
        absolute_tolerance=2e-5 if is_close else 0.0,
        relative_tolerance=1e-3 if is_close else 0.0,
    )


def test_drained_node_is_saved_in_time_and_killed_node_is_done_without(
    tmp_path: Path, nodes: Nodes, ray_head: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = prepare_train(compose_tiny(tmp_path / "undisturbed"))
    expected = run_train(undisturbed)
    for name, value in nodes.environment.items():
        monkeypatch.setenv(name, value)
    cluster = (
        f"traces={undisturbed.traces_path}",
        f"ray.address={nodes.address}",
        "ray.require_token=false",
    )

    # Nothing is saved but what the drain asks for. The third node takes the drained one's place.
    drained = train_on(
        compose_tiny(
            tmp_path / "drained", *cluster, "ray.drain_poll_seconds=0.1",
            "checkpoint.permanent_every_steps=null", "ray.max_failures=0",
        ),
        Fault(name="node drained", rank=None, marker=tmp_path / "drain"),
    )  # fmt: skip
    assert json.loads((drained / START).read_text(encoding="utf-8"))["step"] >= STEP
    assert compare_last(expected, drained, is_close=False).is_bit_equal

    killed = train_on(
        compose_tiny(tmp_path / "killed", *cluster, "ray.min_workers=1"),
        Fault(name="node killed", rank=None, marker=tmp_path / "kill"),
    )
    start = json.loads((killed / START).read_text(encoding="utf-8"))
    assert (start["step"], start["num_workers"]) == (STEP - 1, 1)
    assert compare_last(expected, killed, is_close=True).first is None
