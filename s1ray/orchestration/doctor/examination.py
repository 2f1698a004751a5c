"""The examination itself: questions to the probes of all nodes, verdicts as they come."""

import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from s1ray.config.doctor import DoctorConfig
from s1ray.orchestration.cluster.security import answers_anybody, is_loopback
from s1ray.orchestration.doctor import checks
from s1ray.orchestration.doctor.exposure import check_jobs, find_job_server
from s1ray.orchestration.doctor.finding import Finding, fail_check, pass_check
from s1ray.orchestration.doctor.network import check_network
from s1ray.orchestration.doctor.nodes import find_nodes, list_dead, measure_network
from s1ray.orchestration.doctor.probe import NodeFacts
from s1ray.planning.cluster import Cluster

_CLOCK_READINGS = 5
_MARKER = ".s1ray-doctor"


class Examination:
    """One look at the cluster that this process has joined."""

    def __init__(self, config: DoctorConfig, *, planned: Cluster) -> None:
        """Start a probe on every node that is alive.

        Args:
            config: What the cluster is held against.
            planned: Its ``cluster``, as the plan reads it.
        """
        self._config = config
        self._planned = planned
        self._storage = Path(config.paths.storage).expanduser().absolute()
        self._dead = list_dead()
        self._nodes = find_nodes(planned)

    def examine(self) -> Iterator[Finding]:
        """Yield every verdict as soon as it is known."""
        yield self._check_nodes()
        facts, silent = self._read_facts()
        if silent:
            yield fail_check(
                "answers",
                f"no answer within {self._config.patience_seconds:g} s from {', '.join(silent)}",
                fix="look at that node's raylet.err; end it and start it again",
            )
        if not facts:
            return
        yield checks.check_versions(facts)
        yield checks.check_gpus(facts, self._config)
        yield checks.check_power(facts, self._config)
        yield self._check_storage(facts)
        yield checks.check_disk(facts, self._config)
        yield checks.check_clocks(self._read_clocks(facts), self._config)
        yield self._check_network(facts)
        yield from checks.check_services(facts, self._config)
        yield from self._check_security(facts)

    def _check_nodes(self) -> Finding:
        planned = self._config.cluster.num_nodes
        working = [node for node in self._nodes if node.has_devices]
        found = f"{len(working)} that work, {planned} planned"
        if self._dead:
            found += f", {len(self._dead)} dead ({', '.join(self._dead)})"
        if len(working) == planned:
            return pass_check("nodes", found)
        return fail_check(
            "nodes",
            found,
            fix="start what is missing (ray status says what the launcher waits for), or plan for "
            "what is there: cluster.num_nodes",
        )

    def _read_facts(self) -> tuple[dict[str, NodeFacts], list[str]]:
        self._storage.mkdir(parents=True, exist_ok=True)  # here alone: elsewhere it must be there
        return self._ask_all(
            "read_facts",
            storage=str(self._storage),
            service_urls=self._config.service_urls,
            connect_seconds=self._config.connect_seconds,
        )

    def _ask_all(self, method: str, **arguments: Any) -> tuple[dict[str, Any], list[str]]:  # noqa: ANN401 - a probe's own
        """Return what each node answers, and the nodes that do not."""
        pending = {n.name: getattr(n.probe, method).remote(**arguments) for n in self._nodes}
        deadline = time.monotonic() + self._config.patience_seconds
        answers: dict[str, Any] = {}
        for name, reference in pending.items():
            try:
                left = max(0.1, deadline - time.monotonic())
                answers[name] = ray.get(reference, timeout=left)
            except (GetTimeoutError, RayError):
                continue
        return answers, [name for name in pending if name not in answers]

    def _read_clocks(self, facts: Mapping[str, NodeFacts]) -> dict[str, tuple[float, float]]:
        offsets = {}
        for node in self._nodes:
            if node.name not in facts:
                continue
            readings = []
            for _ in range(_CLOCK_READINGS):
                before = time.time()
                there = ray.get(node.probe.read_clock.remote())
                after = time.time()
                readings.append((there - (before + after) / 2, (after - before) / 2))
            offsets[node.name] = min(readings, key=lambda reading: reading[1])
        return offsets

    def _check_storage(self, facts: Mapping[str, NodeFacts]) -> Finding:
        """Let every node write a file, and every node read all of them."""
        fix = f"mount the same storage at {self._storage} on every node, or set paths.storage="
        absent = [name for name, node in facts.items() if node.storage_gib is None]
        if absent:
            found = f"{self._storage} is not there on {', '.join(absent)}"
            return fail_check("shared storage", found, fix=fix)
        token = secrets.token_hex(8)
        paths = {
            node.name: str(self._storage / f"{_MARKER}-{token}-{node.node_id}")
            for node in self._nodes
        }
        markers = {path: f"{token} of {name}" for name, path in paths.items() if name in facts}
        try:
            return self._exchange_markers(markers, paths=paths, fix=fix)
        finally:
            for path in markers:
                Path(path).unlink(missing_ok=True)

    def _exchange_markers(
        self, markers: Mapping[str, str], *, paths: Mapping[str, str], fix: str
    ) -> Finding:
        nodes = [node for node in self._nodes if paths[node.name] in markers]
        for node in nodes:
            path = paths[node.name]
            if why := ray.get(node.probe.write_marker.remote(path, markers[path])):
                return fail_check("shared storage", f"{node.name} cannot write: {why}", fix=fix)
        asked = {
            node.name: node.probe.find_missing.remote(markers, seconds=self._config.storage_seconds)
            for node in nodes
        }
        for name, reference in asked.items():
            if missing := ray.get(reference):
                writers = [writer for writer, path in paths.items() if path in missing]
                found = f"what {', '.join(writers)} wrote does not appear on {name}"
                return fail_check("shared storage", found, fix=fix)
        found = f"{self._storage}: written and read by {len(nodes)} nodes"
        return pass_check("shared storage", found)

    def _check_network(self, facts: Mapping[str, NodeFacts]) -> Finding:
        nodes = [node for node in self._nodes if node.has_devices and node.name in facts]
        if len(nodes) < 2:
            return pass_check("network", "one node: nothing between nodes")
        try:
            measured = measure_network(nodes, planned=self._planned, config=self._config)
        except (GetTimeoutError, RayError) as error:
            return fail_check(
                "network",
                f"no all-reduce over {len(nodes)} nodes: {str(error).strip().splitlines()[-1]}",
                fix="set GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME to the interface that joins "
                "them, and let all ports between nodes pass",
            )
        return check_network(measured, planned=self._planned, config=self._config)

    def _check_security(self, facts: Mapping[str, NodeFacts]) -> Iterator[Finding]:
        beyond = [node.address for node in self._nodes if not is_loopback(node.address)]
        client = find_job_server()
        is_open = None if client is None else answers_anybody(client.get_address())
        yield checks.check_token(facts, is_beyond_loopback=bool(beyond), is_server_open=is_open)
        if client is not None:
            yield check_jobs(client)
