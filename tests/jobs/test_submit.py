"""Jobs on a real Ray head, submitted as users do, with token authentication."""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from s1ray.orchestration.session import ROOT

pytestmark = pytest.mark.slow
RAY = Path(sys.executable).with_name("ray")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start a head on loopback and return the environment of its users."""
    home = tmp_path_factory.mktemp("ray")
    token = home / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32), encoding="utf-8")
    dashboard, gcs = _free_port(), _free_port()
    environment = {
        **os.environ,
        "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_TMPDIR": str(home),
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    }
    environment.pop("RAY_ADDRESS", None)
    command = [
        str(RAY), "start", "--head", "--block", "--num-cpus=2", f"--port={gcs}",
        "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1",
        f"--dashboard-port={dashboard}", "--disable-usage-stats",
        f"--temp-dir={home}", "--object-store-memory=200000000",
    ]  # fmt: skip
    log = (home / "head.log").open("w")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    users = {**environment, "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}"}
    try:
        _wait_for(dashboard, process)
        yield users
    finally:
        process.terminate()
        process.wait(60)
        log.close()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise TimeoutError


def _submit(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(RAY), "job", "submit", "--working-dir", str(ROOT), "--", *words]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=500, check=False
    )


@pytest.mark.timeout(900)
def test_job_submit_trains_the_tiny_experiment(head: dict[str, str], tmp_path: Path) -> None:
    done = _submit(
        head, "python", "-m", "jobs.train", "experiment=tiny", f"paths.storage={tmp_path}"
    )

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    [run] = (tmp_path / "train").iterdir()
    assert (run / "manifest.json").is_file()
    assert list((run / "export").glob("*.safetensors"))


def test_job_submit_of_a_typo_fails_and_starts_nothing(
    head: dict[str, str], tmp_path: Path
) -> None:
    done = _submit(
        head, "python", "-m", "jobs.train", "experiment=tiny", "+typo=1",
        f"paths.storage={tmp_path}",
    )  # fmt: skip

    assert done.returncode != 0
    assert "typo" in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


def test_job_submit_without_the_token_is_refused(head: dict[str, str], tmp_path: Path) -> None:
    stranger = {**head, "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    (tmp_path / "token").write_text("0" * 64, encoding="utf-8")

    done = _submit(stranger, "python", "-c", "print('in')")

    assert done.returncode != 0
