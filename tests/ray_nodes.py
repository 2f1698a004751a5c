"""Real Ray clusters of several nodes on this machine, with token authentication."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from s1ray.orchestration.cluster.session import ROOT
from tests.ports import free_port
from tests.waiting import wait_until

RAY = Path(sys.executable).with_name("ray")
START_SECONDS = 120


@dataclass(kw_only=True)
class Nodes:
    """A head and its workers, each a process of this test."""

    home: Path
    session: Path
    """Where Ray keeps its sockets and logs; their names must stay below 108 characters."""
    environment: dict[str, str]
    """Of whoever uses the cluster: token, addresses."""
    host: str
    gcs_port: int
    dashboard_port: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"{self.host}:{self.gcs_port}"

    def start(
        self,
        name: str,
        *options: str,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        """Start ``ray start --block`` with options, behind a wrapping command."""
        log = (self.home / f"{name}.log").open("w")
        command = [
            *wrapper, str(RAY), "start", "--block", "--disable-usage-stats",
            "--object-store-memory=100000000",
            # A node that shares Ray's default port with another one takes no jobs.
            f"--dashboard-agent-listen-port={free_port()}", *options,
        ]  # fmt: skip
        self.processes[name] = subprocess.Popen(
            command,
            env={**self.environment, **(environment or {})},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()

    def start_head(self, *options: str, **keywords: object) -> None:
        self.start(
            "head", "--head", f"--port={self.gcs_port}", f"--node-ip-address={self.host}",
            f"--dashboard-host={self.host}", f"--dashboard-port={self.dashboard_port}",
            f"--temp-dir={self.session}", *options, **keywords,
        )  # fmt: skip

    def join(self, name: str, *options: str, **keywords: object) -> None:
        self.start(name, f"--address={self.address}", *options, **keywords)

    def kill(self, name: str) -> None:
        """End a node as a power cut does: all of its processes at once."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(60)
            finally:
                _kill_group(process.pid)

    def run(
        self, *command: str, timeout: float = 300, wrapper: Sequence[str] = (), **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of a user of the cluster and return how it ended."""
        return subprocess.run(
            [*wrapper, *command],
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def wait_for_nodes(self, count: int, *, wrapper: Sequence[str] = ()) -> None:
        """Wait until so many nodes are alive."""
        script = (
            "import ray, sys, time\n"
            f"ray.init(address='{self.address}', logging_level='ERROR', log_to_driver=False)\n"
            f"deadline = time.monotonic() + {START_SECONDS}\n"
            f"while sum(node['Alive'] for node in ray.nodes()) != {count}:\n"
            "    assert time.monotonic() < deadline\n"
            "    time.sleep(0.2)\n"
        )
        done = self.run(sys.executable, "-c", script, wrapper=wrapper)
        assert done.returncode == 0, done.stderr[-3000:]


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


@contextmanager
def make_nodes(
    home: Path,
    *,
    host: str = "127.0.0.1",
    with_token: bool = True,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Nodes]:
    """Yield a cluster without nodes yet; end all of its processes afterwards.

    Args:
        home: For its token and what its nodes say.
        host: Where the head listens.
        with_token: Whether a token is demanded.
        variables: More of the environment of nodes and users.
    """
    environment = _make_environment(home, with_token=with_token) | dict(variables or {})
    gcs, dashboard = free_port(), free_port()
    session = Path(tempfile.mkdtemp(prefix="s1ray-", dir="/tmp"))
    nodes = Nodes(
        home=home,
        session=session,
        environment={**environment, "RAY_API_SERVER_ADDRESS": f"http://{host}:{dashboard}"},
        host=host,
        gcs_port=gcs,
        dashboard_port=dashboard,
    )
    try:
        yield nodes
    finally:
        nodes.stop()
        shutil.rmtree(session, ignore_errors=True)


def _make_environment(home: Path, *, with_token: bool) -> dict[str, str]:
    environment = {
        **os.environ,
        "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
        "RAY_AUTH_MODE": "disabled",
    }
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        environment.pop(name, None)
    if with_token:
        token = home / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32), encoding="utf-8")
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    return environment


@contextmanager
def make_blind_pair(home: Path, hidden: Path, *, head_cpus: int, node_cpus: int) -> Iterator[Nodes]:
    """Start a head and a node that finds a directory empty, as if it were not mounted there."""
    hidden.mkdir()
    veil = hide_directory(hidden)
    if subprocess.run([*veil, "true"], capture_output=True, check=False).returncode:
        pytest.skip("hiding a directory needs root and a kernel that has mount namespaces")
    variables = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with make_nodes(home, with_token=False, variables=variables) as cluster:
        cluster.start_head(f"--num-cpus={head_cpus}", "--include-dashboard=false")
        wait_for_port(cluster.host, cluster.gcs_port, cluster.processes["head"])
        cluster.join("blind", f"--num-cpus={node_cpus}", wrapper=veil)
        cluster.wait_for_nodes(2)
        yield cluster


def hide_directory(directory: Path) -> tuple[str, ...]:
    """Return the words before a command that hide a directory from it."""
    script = 'mount -t tmpfs none "$1" && shift && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", script, "sh", str(directory))


def wait_for_port(host: str, port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process listens."""

    def is_open() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((host, port)) == 0

    wait_until(is_open, seconds=START_SECONDS, process=process)
