"""Jobs on a real Ray of two nodes, submitted as users do, with token authentication."""

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from s1ray.orchestration.cluster.session import ROOT
from s1ray.orchestration.fine_tune.stopping import STOP
from tests.ray_nodes import RAY, Nodes, make_nodes, wait_for_port
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
SUBMIT_SECONDS = 240
"""What a job takes at most from its submission to its first step."""
TINY = ["python", "-m", "jobs.train", "experiment=tiny"]
# What the nodes and their users have in their environment, as the README says they should.
PLANTED = {
    "WANDB_API_KEY": secrets.token_hex(20),
    "HF_TOKEN": f"hf_{secrets.token_hex(17)}",
    "OPENAI_API_KEY": f"sk-{secrets.token_hex(24)}",
    "S1RAY_API_KEY": secrets.token_hex(8),
    "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Start a head and one more node on loopback, a CPU each."""
    with make_nodes(tmp_path_factory.mktemp("ray"), variables=PLANTED) as nodes:
        nodes.start_head("--num-cpus=1")
        wait_for_port(nodes.host, nodes.dashboard_port, nodes.processes["head"])
        nodes.join("worker", "--num-cpus=1")
        nodes.wait_for_nodes(2)
        _wait_for_jobs(nodes)
        yield nodes


def _wait_for_jobs(nodes: Nodes) -> None:
    """Wait until the cluster takes jobs: its agents come later than its port."""
    wait_until(
        lambda: nodes.run(str(RAY), "job", "submit", "--", "true").returncode == 0,
        seconds=SUBMIT_SECONDS,
        log=nodes.home / "head.log",
    )


def _submit_plainly(
    nodes: Nodes, *words: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    command = [str(RAY), "job", "submit", "--working-dir", str(ROOT), "--", *words]
    return nodes.run(*command, timeout=500, **variables)


def _submit(nodes: Nodes, *options: str, words: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobs.submit", *options, "--", *words]
    return nodes.run(*command, timeout=500, PYTHONPATH=str(ROOT))


@pytest.mark.timeout(900)
def test_plain_job_submit_trains_the_tiny_experiment(nodes: Nodes, tmp_path: Path) -> None:
    done = _submit_plainly(nodes, *TINY, f"paths.storage={tmp_path}")

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    [run] = (tmp_path / "train").iterdir()
    assert (run / "manifest.json").is_file()
    assert list((run / "export").glob("*.safetensors"))


def test_plain_job_submit_of_a_typo_fails_and_starts_nothing(nodes: Nodes, tmp_path: Path) -> None:
    done = _submit_plainly(nodes, *TINY, "+typo=1", f"paths.storage={tmp_path}")

    assert done.returncode != 0
    assert "typo" in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


def test_plain_job_submit_without_the_token_is_refused(nodes: Nodes, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0" * 64, encoding="utf-8")

    done = _submit_plainly(
        nodes, "python", "-c", "print('in')", RAY_AUTH_TOKEN_PATH=str(tmp_path / "token")
    )

    assert done.returncode != 0


@contextmanager
def _held(nodes: Nodes) -> Iterator[None]:
    """Let the workers that train on the nodes stand still while the block runs."""
    workers = []
    for node in nodes.processes.values():
        for process in psutil.Process(node.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "RayTrainWorker" in " ".join(process.cmdline()):
                    process.suspend()
                    workers.append(process)
    try:
        assert len(workers) == 2
        yield
    finally:
        for worker in workers:
            worker.resume()


@pytest.mark.timeout(900)
def test_submit_stop_resubmit_attach(nodes: Nodes, tmp_path: Path) -> None:
    words = [*TINY, f"paths.storage={tmp_path}", "training.num_epochs=40"]
    begun = _submit(nodes, "follow=false", words=words)
    assert begun.returncode == 0, begun.stderr
    first = begun.stdout.strip()
    wait_until(lambda: _count_steps(tmp_path) > 0, seconds=SUBMIT_SECONDS)
    [run] = (tmp_path / "train").iterdir()

    with ThreadPoolExecutor(1) as aside:
        # However slow the command line is: the job does not come to its end before it is stopped.
        with _held(nodes):
            again = _submit(nodes, "follow=false", words=words)
            stopping = aside.submit(_submit, nodes, "--stop", words=words)
            wait_until((run / STOP).exists, seconds=SUBMIT_SECONDS)
        stopped = stopping.result()

    assert again.stdout.strip() == first
    assert stopped.returncode == 0, stopped.stderr
    assert stopped.stdout.strip() == first
    num_before = _count_steps(tmp_path)
    assert json.loads((run / "outcome.json").read_text())["is_finished"] is False

    resumed = _submit(nodes, words=words)

    assert resumed.returncode == 0, resumed.stderr[-3000:]
    second = resumed.stdout.strip()
    assert second == first.removesuffix("1") + "2"
    assert json.loads((run / "run.json").read_text())["resumed_from"]
    # The stop lost nothing: every step was done once.
    assert _list_steps(tmp_path) == list(range(1, 121))
    assert num_before < 120

    attached = _submit(nodes, words=words)

    assert attached.returncode == 0
    assert attached.stdout.strip() == second
    assert str(run) in attached.stderr


def _list_steps(storage: Path) -> list[int]:
    files = list(storage.glob("train/*/events.jsonl"))
    lines = [line for path in files for line in path.read_text().split("\n") if line.endswith("}")]
    return [json.loads(line)["global_step"] for line in lines]


def _count_steps(storage: Path) -> int:
    return len(_list_steps(storage))


def test_a_submitted_job_knows_its_commit_and_fails_with_its_reason(
    nodes: Nodes, tmp_path: Path
) -> None:
    module = "s1ray.orchestration.run_directory.provenance"
    script = f"from {module} import CODE, read_git_state; print(read_git_state(CODE))"

    done = _submit(nodes, words=["python", "-c", f"{script}; raise SystemExit(3)"])

    sha = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert done.returncode == 1
    assert sha in done.stderr
    assert "FAILED" in done.stderr


@pytest.mark.timeout(900)
def test_planted_secrets_are_found_nowhere(nodes: Nodes, tmp_path: Path) -> None:
    done = _submit(nodes, words=[*TINY, f"paths.storage={tmp_path}", "tracking.mode=offline"])
    told = nodes.run(
        sys.executable, "-c",
        "from ray.job_submission import JobSubmissionClient as Client\n"
        "client = Client()\n"
        "for job in client.list_jobs():\n"
        "    print(job.json())\n"
        "    print(client.get_job_logs(job.submission_id) if job.submission_id else '')",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-3000:]
    assert told.returncode == 0, told.stderr[-3000:]
    assert list(tmp_path.rglob("*.wandb"))
    texts = {"submit": done.stdout + done.stderr, "job server": told.stdout}
    assert not [f"{w}: {n}" for n, text in texts.items() for w, v in PLANTED.items() if v in text]
    assert not _find_planted(tmp_path)
    assert not _find_planted(nodes.home)
    assert not _find_planted(nodes.session)
    (tmp_path / "control").write_text(f"a {PLANTED['HF_TOKEN']} b")
    assert _find_planted(tmp_path) == [f"HF_TOKEN in {tmp_path / 'control'}"]


def _find_planted(directory: Path) -> list[str]:
    return [
        f"{name} in {path}"
        for path in sorted(directory.rglob("*"))
        if path.is_file()
        for name, value in PLANTED.items()
        if value.encode() in path.read_bytes()
    ]


def test_a_cluster_that_is_gone_is_bad_input(nodes: Nodes) -> None:
    done = _submit(nodes, "address=http://127.0.0.1:9", words=TINY)

    assert done.returncode == 2
    assert "127.0.0.1:9" in done.stderr
