"""Too few processors are said, and refused where there will never be more."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from s1ray.orchestration.cluster.room import Need, describe_shortage
from s1ray.orchestration.cluster.session import ROOT
from tests.orchestration.processes import list_session, running
from tests.orchestration.sweeps.sweeping import DATA, axes
from tests.ray_nodes import Nodes, make_nodes, wait_for_port
from tests.waiting import wait_until

JOBS = [
    ("train", ("sharding.num_workers=2",), "2 training workers of 1 CPU each"),
    (
        "evaluate",
        ("target=base", "serving.num_replicas=2", "serving.num_cpus=1"),
        "2 evaluation replicas of 1 CPU each",
    ),
]
END_SECONDS = 600
"""What a job takes at most that has room at last."""
EIGHT = {"CPU": 96.0, "GPU": 8.0}


def need(count: int, **each: float) -> Need:
    return Need(name="workers", count=count, each=each, remedy="ask for less")


@pytest.mark.parametrize(
    ("wanted", "nodes"),
    [
        (need(16, GPU=1, CPU=12), [EIGHT, EIGHT]),
        (need(3, CPU=0.2, GPU=0), [{"CPU": 0.6}]),
        (need(5, CPU=0), []),
    ],
)
def test_room_that_is_just_enough_is_no_shortage(
    wanted: Need, nodes: Sequence[Mapping[str, float]]
) -> None:
    assert describe_shortage(wanted, nodes) is None


@pytest.mark.parametrize(
    ("wanted", "nodes", "said"),
    [
        (
            need(16, GPU=1, CPU=1),
            [EIGHT],
            "16 GPUs and 16 CPUs (16 workers of 1 GPU and 1 CPU each); the cluster has 8 GPUs and "
            "96 CPUs, room for 8",
        ),
        (
            need(1, CPU=3),  # no process lies on two nodes
            [{"CPU": 2.0}, {"CPU": 2.0}],
            "3 CPUs (1 workers of 3 CPUs each); the cluster has 4 CPUs, room for 0",
        ),
        (need(1, GPU=0.5), [{"CPU": 2.0}], "0.5 GPUs (1 workers of 0.5 GPUs each); the cluster"),
    ],
)
def test_shortage_names_what_is_needed_and_what_is_there(
    wanted: Need, nodes: Sequence[Mapping[str, float]], said: str
) -> None:
    assert (describe_shortage(wanted, nodes) or "").startswith(said)


def command(job: str, storage: Path, *overrides: str) -> list[str]:
    words = ("experiment=tiny", f"paths.storage={storage}", *overrides)
    return [sys.executable, "-m", f"jobs.{job}", *words]


@pytest.mark.slow
@pytest.mark.parametrize(("job", "overrides", "needed"), JOBS)
def test_ray_of_our_own_that_is_too_small_is_refused(
    tmp_path: Path, job: str, overrides: tuple[str, ...], needed: str
) -> None:
    words = command(job, tmp_path, *overrides, "ray.num_cpus=1")

    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)

    said = " ".join(done.stderr.split())
    assert done.returncode == 2, said
    assert f"no room for 2 CPUs ({needed}); the cluster has 1 CPU, room for 1." in said
    assert "raise ray.num_cpus" in said


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """A head with one CPU."""
    with make_nodes(tmp_path, variables={"PYTHONPATH": str(ROOT)}) as nodes:
        nodes.start_head("--num-cpus=1", "--include-dashboard=false")
        wait_for_port(nodes.host, nodes.gcs_port, nodes.processes["head"])
        yield nodes


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("job", "overrides", "needed"), JOBS)
def test_cluster_that_is_too_small_is_waited_for_aloud(
    tmp_path: Path, nodes: Nodes, job: str, overrides: tuple[str, ...], needed: str
) -> None:
    with start_without_room(job, overrides, needed, nodes, tmp_path) as (process, log):
        nodes.join("more", "--num-cpus=1")
        code = process.wait(END_SECONDS)

    assert code == 0, log.read_text()


@contextmanager
def start_without_room(
    job: str, overrides: Sequence[str], needed: str, nodes: Nodes, home: Path
) -> "Iterator[tuple[subprocess.Popen[bytes], Path]]":
    """Yield a job that has said what it waits for, and the log of what it says."""
    words = command(job, home / "runs", *overrides, f"ray.address={nodes.address}")
    log = home / "said.txt"
    with (
        log.open("w") as stderr,
        running(
            words, cwd=ROOT, env=nodes.environment, stderr=stderr, start_new_session=True
        ) as process,
    ):
        said = f"waiting for 2 CPUs ({needed})"
        wait_until(lambda: said in " ".join(log.read_text().split()), process=process, log=log)
        yield process, log


FREE = """
import sys, time
import ray
from ray.util import placement_group_table
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
deadline = time.monotonic() + 60
while ray.available_resources().get("CPU") != 1.0 or any(
    group["state"] != "REMOVED" for group in placement_group_table().values()
):
    held = [g for g in placement_group_table().values() if g["state"] != "REMOVED"]
    assert time.monotonic() < deadline, (ray.available_resources(), held)
    time.sleep(0.2)
"""


def has_asked_ray(job: str, storage: Path, log: Path) -> bool:
    """Whether the job has come to where Ray waits without a word."""
    if job == "train":
        return any(storage.glob("train/*/ray"))
    return "loading the model" in log.read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("job", "overrides", "needed"), JOBS)
def test_ctrl_c_ends_a_job_that_waits_for_room_and_leaves_nothing(
    tmp_path: Path, nodes: Nodes, job: str, overrides: tuple[str, ...], needed: str
) -> None:
    with start_without_room(job, overrides, needed, nodes, tmp_path) as (process, log):
        has_asked = partial(has_asked_ray, job, tmp_path / "runs", log)
        wait_until(has_asked, process=process, log=log)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)

    said = log.read_text()
    assert process.returncode == 128 + signal.SIGINT, said
    assert "Traceback" not in said
    assert not [*tmp_path.rglob("lease.json"), *tmp_path.rglob("stop")]
    assert list_session(process.pid) == []
    free = nodes.run(sys.executable, "-c", FREE, nodes.address)
    assert free.returncode == 0, free.stderr


HOLD = """
import sys, time
import ray
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
class Holder: pass
holder = ray.remote(num_cpus=1)(Holder).remote()
ray.get(holder.__ray_ready__.remote())
print("holding", flush=True)
time.sleep(3600)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ctrl_c_ends_a_sweep_whose_trial_waits_for_another_job(
    tmp_path: Path, nodes: Nodes
) -> None:
    nodes.join("more", "--num-cpus=1")
    other = [sys.executable, "-c", HOLD, nodes.address]
    overrides = (*axes(data=DATA), "sharding.num_workers=2", f"ray.address={nodes.address}")
    words = command("sweep", tmp_path / "runs", *overrides)
    held, log = tmp_path / "held.txt", tmp_path / "said.txt"
    with (
        held.open("w") as told,
        running(other, env=nodes.environment, stdout=told),
        log.open("w") as said,
    ):
        wait_until(lambda: "holding" in held.read_text())
        with running(
            words, cwd=ROOT, env=nodes.environment, stderr=said, start_new_session=True
        ) as process:
            has_asked = partial(has_asked_ray, "train", tmp_path / "runs", log)
            wait_until(has_asked, process=process, log=log)
            os.killpg(process.pid, signal.SIGINT)
            process.wait(60)
        free = nodes.run(sys.executable, "-c", FREE, nodes.address)

    assert process.returncode == 128 + signal.SIGINT, log.read_text()
    assert list_session(process.pid) == []
    assert free.returncode == 0, free.stderr
