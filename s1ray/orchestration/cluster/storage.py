"""Whether all nodes of a Ray see the directory that a run lives in.

It does not know what is kept there. A node that dies while it is asked has no say.
"""

import tempfile
from pathlib import Path

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from s1ray.orchestration.run_directory.runs import RefusedError


def refuse_unshared(path: Path, *, resource: str) -> None:
    """Ask every node that may get work for a run's directory, before there is any.

    Args:
        path: There already, on this node.
        resource: What nodes with work offer: CPU or GPU.

    Raises:
        RefusedError: A node does not have the directory, or cannot write there.
    """
    here = ray.get_runtime_context().get_node_id()
    others = [
        node
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"] and node["Resources"].get(resource) and node["NodeID"] != here
    ]
    asked = {node["NodeManagerAddress"]: _ask(node["NodeID"], path) for node in others}
    faults = {address: _hear(answer) for address, answer in asked.items()}
    blind = [f"{address} ({fault})" for address, fault in faults.items() if fault]
    if blind:
        raise RefusedError(
            f"{path} is not shared: {', '.join(blind)} cannot write there, and checkpoints of "
            "several nodes need one place. Mount the same storage on every node, or set "
            "paths.storage to one that is."
        )


def _ask(node_id: str, path: Path) -> "ray.ObjectRef[str]":
    strategy = NodeAffinitySchedulingStrategy(node_id=node_id, soft=False)
    task = ray.remote(_find_fault).options(num_cpus=0, scheduling_strategy=strategy)
    return task.remote(str(path))


def _hear(answer: "ray.ObjectRef[str]") -> str:
    try:
        return ray.get(answer)
    except RayError:
        return ""


def _find_fault(path: str) -> str:
    """Return why nothing can be written in a directory, in words; empty where it can."""
    try:
        with tempfile.TemporaryFile(dir=path):
            return ""
    except OSError as error:
        return error.strerror or type(error).__name__
