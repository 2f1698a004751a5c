"""The nodes that are alive, with a probe on each, and the all-reduce over all of them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from s1ray.config.doctor import DoctorConfig
from s1ray.orchestration.doctor.network import MIB, AllReduce
from s1ray.orchestration.doctor.probe import NodeProbe
from s1ray.planning.cluster import Cluster

_ID_CHARACTERS = 6
_SHORTEST_WAIT = 0.1
"""Seconds for an answer that may be there when the time for all is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node that is alive."""

    name: str
    """Its address, and as much of its id as tells nodes of one machine apart."""
    node_id: str
    address: str
    has_devices: bool
    """Whether training workers can run there: a head without any is not counted."""
    probe: Any
    """The actor of a NodeProbe."""


def list_dead() -> list[str]:
    """Return the addresses of nodes that were there and are gone."""
    return [node["NodeManagerAddress"] for node in _list_nodes() if not node["Alive"]]


def find_nodes(planned: Cluster) -> list[Node]:
    """Start a probe on every node that is alive."""
    resource = "CPU" if planned.is_cpu else "GPU"
    return [
        Node(
            name=f"{node['NodeManagerAddress']} ({node['NodeID'][:_ID_CHARACTERS]})",
            node_id=node["NodeID"],
            address=node["NodeManagerAddress"],
            has_devices=node["Resources"].get(resource, 0) > 0,
            probe=_start_probe(node["NodeID"], num_gpus=0),
        )
        for node in _list_nodes()
        if node["Alive"]
    ]


def _list_nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes


def _start_probe(node_id: str, *, num_gpus: int) -> Any:  # noqa: ANN401 - an actor's handle
    strategy = NodeAffinitySchedulingStrategy(node_id=node_id, soft=False)
    actor = ray.remote(NodeProbe).options(
        num_cpus=0, num_gpus=num_gpus, scheduling_strategy=strategy
    )
    return actor.remote()


def hear_all(pending: Mapping[str, Any], *, seconds: float) -> tuple[dict[str, Any], list[str]]:
    """Return what each node answers in time, and the nodes that do not.

    Args:
        pending: What was asked: a probe's answer to come, by the node's name.
        seconds: For all answers together.
    """
    deadline = time.monotonic() + seconds
    answers: dict[str, Any] = {}
    for name, reference in pending.items():
        try:
            left = max(_SHORTEST_WAIT, deadline - time.monotonic())
            answers[name] = ray.get(reference, timeout=left)
        except RayError:  # its GetTimeoutError, too
            continue
    return answers, [name for name in pending if name not in answers]


def measure_network(
    nodes: Sequence[Node], *, planned: Cluster, config: DoctorConfig
) -> list[AllReduce]:
    """Return the all-reduce of each size over all nodes: a member a GPU, or one a node on CPUs.

    Raises:
        RayError: The members do not find each other, or one of them is gone.
        GetTimeoutError: They do not end in time.
    """
    host = nodes[0].address
    ranks = [node.probe for node in nodes]
    if not planned.is_cpu:
        per_node = range(planned.devices_per_node)
        ranks = [_start_probe(node.node_id, num_gpus=1) for node in nodes for _ in per_node]
    port = ray.get(nodes[0].probe.open_port.remote(host), timeout=config.patience_seconds)
    sizes = [int(size * MIB) for size in config.message_mib]
    timings = [
        probe.time_all_reduce.remote(
            meeting_point=f"{host}:{port}",
            rank=rank,
            world_size=len(ranks),
            message_bytes=sizes,
            num_repeats=config.num_repeats,
            timeout_seconds=config.patience_seconds,
        )
        for rank, probe in enumerate(ranks)
    ]
    seconds = ray.get(timings, timeout=2 * config.patience_seconds)
    return [
        AllReduce(num_bytes=size, seconds=max(column), world_size=len(ranks))
        for size, column in zip(sizes, zip(*seconds, strict=True), strict=True)
    ]
