"""Jobs over hosts with addresses of their own, joined by a throttled network."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s1ray.orchestration.cluster.session import ROOT
from s1ray.orchestration.fine_tune.train_worker import START
from tests.hosts import ENVIRONMENT, Host, join, make_hosts, start_ray
from tests.ray_nodes import Nodes, make_nodes
from tests.recipes import write_traces
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
RATE_GBIT = 0.4
CUT_SECONDS = 20
NUM_STEPS = 150
LONG = ("training.num_epochs=null", f"training.max_steps={NUM_STEPS}")


@pytest.fixture(scope="module")
def hosts() -> Iterator[list[Host]]:
    """Two hosts, and a third that may come later."""
    with make_hosts(3, rate=f"{int(1000 * RATE_GBIT)}mbit") as hosts:
        yield hosts


@pytest.fixture(scope="module")
def nodes(hosts: list[Host], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A Ray of the first two hosts, a CPU each."""
    with make_nodes(tmp_path_factory.mktemp("ray"), host=hosts[0].address) as nodes:
        start_ray(nodes, hosts[:2])
        yield nodes


def _run(nodes: Nodes, host: Host, job: str, *overrides: str) -> tuple[int, str]:
    """Return exit code and what was said of a job started on a host."""
    command = [sys.executable, "-m", f"jobs.{job}", *overrides, f"ray.address={nodes.address}"]
    done = nodes.run(
        *command, timeout=600, wrapper=host.wrapper, PYTHONPATH=str(ROOT), **ENVIRONMENT
    )
    return done.returncode, done.stderr[-4000:] + done.stdout


def _read_rows(storage: Path, pattern: str) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(storage.glob(pattern))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def _count_steps(storage: Path) -> list[int]:
    return [row["global_step"] for row in _read_rows(storage, "train/*/events.jsonl")]


def _train_and(
    fault: Callable[[], None], nodes: Nodes, hosts: list[Host], storage: Path, *overrides: str
) -> tuple[int, str]:
    """Train over the hosts and call ``fault`` once twenty steps are done."""

    def strike() -> None:
        wait_until(lambda: len(_count_steps(storage)) >= 20, seconds=300)
        fault()

    thread = threading.Thread(target=strike)
    thread.start()
    words = ("experiment=tiny", *LONG, f"paths.storage={storage}", *overrides)
    outcome = _run(nodes, hosts[0], "train", *words)
    thread.join()
    return outcome


def test_the_doctor_measures_the_throttle(nodes: Nodes, hosts: list[Host], tmp_path: Path) -> None:
    common = ["cluster.num_nodes=2", "connect_seconds=1", f"paths.storage={tmp_path}"]
    honest = f"cluster.measured_node_gbit={RATE_GBIT}"

    passed, said = _run(nodes, hosts[0], "doctor", *common, honest)
    failed, warned = _run(nodes, hosts[0], "doctor", *common, "cluster.measured_node_gbit=10")

    assert passed == 0, said
    assert failed == 1, warned
    assert "FAIL  network" in warned


def test_train_over_two_hosts(nodes: Nodes, hosts: list[Host], tmp_path: Path) -> None:
    code, said = _run(nodes, hosts[0], "train", "experiment=tiny", f"paths.storage={tmp_path}")

    assert code == 0, said
    assert _count_steps(tmp_path) == list(range(1, 7))
    assert list(tmp_path.glob("train/*/export/*.safetensors"))


def test_evaluate_over_two_hosts(nodes: Nodes, hosts: list[Host], tmp_path: Path) -> None:
    # A host has one CPU: two replicas that want all of it are on both.
    code, said = _run(
        nodes, hosts[0], "evaluate", "experiment=tiny", "target=base", "serving.num_replicas=2",
        "serving.num_cpus=1", f"paths.storage={tmp_path}",
    )  # fmt: skip

    assert code == 0, said
    [results] = tmp_path.glob("evaluate/*/results.json")
    samples = _read_rows(tmp_path, "evaluate/*/samples.jsonl")
    counted = json.loads(results.read_text(encoding="utf-8"))
    assert len(samples) == sum(point["num_samples"] for point in counted["points"])


def test_sweep_over_two_hosts(nodes: Nodes, hosts: list[Host], tmp_path: Path) -> None:
    code, said = _run(
        nodes, hosts[0], "sweep", "experiment=tiny", "sharding=cpu1", f"paths.storage={tmp_path}"
    )

    assert code == 0, said
    trials = list(tmp_path.glob("trial/*/manifest.json"))
    assert trials
    assert len(trials) == len(list(tmp_path.glob("trial/*")))


@pytest.mark.parametrize(
    ("hidden", "remedy"),
    [
        ("runs", "set paths.storage"),
        ("cache", "put HF_HOME or paths.cache on shared storage"),
    ],
)
def test_a_host_that_lacks_a_directory_is_named_before_training_begins(
    nodes: Nodes, hosts: list[Host], tmp_path: Path, hidden: str, remedy: str
) -> None:
    for name in ("runs", "cache", "traces"):
        (tmp_path / name).mkdir()
    write_traces(tmp_path / "traces")
    join(nodes, hosts[2], name="blind", hides=tmp_path / hidden)
    nodes.wait_for_nodes(3, wrapper=hosts[0].wrapper)
    try:
        code, said = _run(
            nodes, hosts[0], "train", "experiment=tiny", f"paths.storage={tmp_path}/runs",
            f"paths.cache={tmp_path}/cache", f"traces={tmp_path}/traces/traces.jsonl",
        )  # fmt: skip
    finally:
        nodes.kill("blind")
        nodes.wait_for_nodes(2, wrapper=hosts[0].wrapper)

    assert code == 2, said
    assert remedy in said
    assert hosts[2].address in said
    assert hosts[1].address not in said.split("is not shared")[1]
    assert _count_steps(tmp_path / "runs") == []


def test_a_link_cut_for_twenty_seconds_costs_no_step(
    nodes: Nodes, hosts: list[Host], tmp_path: Path
) -> None:
    struck_after: list[int] = []

    def cut() -> None:
        hosts[1].cut()
        struck_after.extend(_count_steps(tmp_path)[-1:])
        time.sleep(CUT_SECONDS)  # the fault itself
        hosts[1].mend()

    code, said = _train_and(cut, nodes, hosts, tmp_path, "ray.min_workers=1")

    assert code == 0, said
    assert struck_after[0] < NUM_STEPS
    assert _count_steps(tmp_path) == list(range(1, NUM_STEPS + 1))


def test_a_host_that_dies_is_replaced_and_costs_no_step(
    nodes: Nodes, hosts: list[Host], tmp_path: Path
) -> None:
    struck_after: list[int] = []

    def kill_and_replace() -> None:
        nodes.kill("host2")
        struck_after.extend(_count_steps(tmp_path)[-1:])
        join(nodes, hosts[2], name="host3")

    code, said = _train_and(kill_and_replace, nodes, hosts, tmp_path)

    assert code == 0, said
    assert struck_after[0] < NUM_STEPS
    [started] = tmp_path.glob(f"train/*/{START}")
    start = json.loads(started.read_text(encoding="utf-8"))
    # Two workers need two hosts: the second is the one that came.
    assert (start["step"] > 0, start["num_workers"]) == (True, 2)
    assert _count_steps(tmp_path) == list(range(1, NUM_STEPS + 1))
