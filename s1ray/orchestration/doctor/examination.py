"""The examination itself: questions to the probes of all nodes, verdicts as they come."""

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ray.exceptions import GetTimeoutError, RayError

from s1ray.config.doctor import DoctorConfig
from s1ray.orchestration.cluster.security import answers_anybody, is_loopback
from s1ray.orchestration.doctor import checks
from s1ray.orchestration.doctor.exposure import check_jobs, find_job_server
from s1ray.orchestration.doctor.finding import Finding, fail_check, pass_check, warn_check
from s1ray.orchestration.doctor.network import check_network
from s1ray.orchestration.doctor.nodes import (
    Node,
    find_nodes,
    hear_all,
    list_dead,
    measure_network,
)
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
            yield self._fail_silent("answers", silent)
        if not facts:
            return
        yield checks.check_versions(facts)
        yield checks.check_gpus(facts, self._config)
        yield checks.check_power(facts, self._config)
        yield self._check_storage(facts)
        yield checks.check_disk(facts, self._config)
        yield self._check_clocks(facts)
        yield self._check_network(facts)
        yield from checks.check_services(facts, self._config)
        yield from self._check_security(facts)

    def _check_nodes(self) -> Finding:
        planned = self._config.cluster.num_nodes
        working = [node for node in self._nodes if node.has_devices]
        found = f"{planned} planned, {len(self._nodes)} up, {len(working)} with planned devices"
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
        pending = {
            node.name: node.probe.read_facts.remote(
                storage=str(self._storage),
                service_urls=self._config.service_urls,
                connect_seconds=self._config.connect_seconds,
            )
            for node in self._nodes
        }
        return hear_all(pending, seconds=self._config.patience_seconds)

    def _fail_silent(self, check: str, silent: Sequence[str]) -> Finding:
        return fail_check(
            check,
            f"no answer, or an error, within {self._config.patience_seconds:g} s from "
            f"{', '.join(silent)}",
            fix=f"look at that node's raylet.err and its mount of {self._storage}; end it and "
            "start it again",
        )

    def _check_clocks(self, facts: Mapping[str, NodeFacts]) -> Finding:
        readings = {
            node.name: list(self._read_clock(node)) for node in self._nodes if node.name in facts
        }
        if silent := [name for name, found in readings.items() if len(found) < _CLOCK_READINGS]:
            return self._fail_silent("clocks", silent)
        offsets = {name: min(found, key=lambda item: item[1]) for name, found in readings.items()}
        return checks.check_clocks(offsets, self._config)

    def _read_clock(self, node: Node) -> Iterator[tuple[float, float]]:
        """Yield seconds ahead of this clock, and how uncertain that is; stop at a silent node."""
        for _ in range(_CLOCK_READINGS):
            before = time.time()
            answers, silent = hear_all(
                {node.name: node.probe.read_clock.remote()}, seconds=self._config.patience_seconds
            )
            after = time.time()
            if silent:
                return
            yield answers[node.name] - (before + after) / 2, (after - before) / 2

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
        nodes = {node.name: node for node in self._nodes if paths[node.name] in markers}
        patience, seconds = self._config.patience_seconds, self._config.storage_seconds
        writing = {
            name: node.probe.write_marker.remote(paths[name], markers[paths[name]])
            for name, node in nodes.items()
        }
        faults, silent = hear_all(writing, seconds=patience)
        if silent:
            return self._fail_silent("shared storage", silent)
        for name, why in faults.items():
            if why:
                return fail_check("shared storage", f"{name} cannot write: {why}", fix=fix)
        reading = {
            name: node.probe.find_missing.remote(markers, seconds=seconds)
            for name, node in nodes.items()
        }
        unseen, silent = hear_all(reading, seconds=seconds + patience)
        if silent:
            return self._fail_silent("shared storage", silent)
        for name, missing in unseen.items():
            if missing:
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
        is_open = None
        if client is not None:
            try:
                is_open = answers_anybody(client.get_address())
            except ValueError as error:
                yield warn_check(
                    "token",
                    f"whether the job server demands one is not known: {error}",
                    fix="look at dashboard.log on the head",
                )
        yield checks.check_token(facts, is_beyond_loopback=bool(beyond), is_server_open=is_open)
        if client is not None:
            yield check_jobs(client)
