"""Whether all nodes of a Ray see what a run reads, and the directory that it lives in.

It does not know what is kept there. A node that dies while it is asked has no say.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError, RuntimeEnvSetupError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from s1ray.orchestration.run_directory.runs import RefusedError

FindFault = Callable[[tuple[str, ...]], str]
"""Asked on a node about paths; says what is wrong with them there, or nothing."""
_PATIENCE = 120.0
"""Seconds for a node to start a process and look; changes no result."""


def refuse_unshared(path: Path, *, resource: str) -> None:
    """Ask every node that may get work for a run's directory, before there is any.

    Args:
        path: There already, on this node.
        resource: What nodes with work offer: CPU or GPU.

    Raises:
        RefusedError: A node does not have the directory, or cannot write there.
    """
    blind = _ask_others(find_write_fault, (str(path),), resource=resource)
    if blind:
        raise RefusedError(
            f"{path} is not shared: {blind} cannot write there, and checkpoints of several nodes "
            "need one place. Mount the same storage on every node, or set paths.storage to one "
            "that is."
        )


def refuse_unreadable(path: Path, *, resource: str, remedy: str) -> None:
    """Ask every node that may get work for what its workers will read, before there is any.

    Args:
        path: A file, or a directory whose files are read; there already, on this node.
        resource: What nodes with work offer: CPU or GPU.
        remedy: What to do where it is not there, in words.

    Raises:
        RefusedError: A node does not have all of it.
    """
    files = [file for file in path.iterdir() if file.is_file()] if path.is_dir() else [path]
    blind = _ask_others(find_read_fault, tuple(map(str, files)), resource=resource)
    if blind:
        raise RefusedError(f"{path} is not shared: {blind} cannot read it. To go on, {remedy}.")


def _ask_others(find_fault: FindFault, paths: tuple[str, ...], *, resource: str) -> str:
    """Return the other nodes that find a fault, each with what it says; empty for none."""
    here = ray.get_runtime_context().get_node_id()
    others = [
        node
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"] and node["Resources"].get(resource) and node["NodeID"] != here
    ]
    asked = [
        (node["NodeManagerAddress"], _ask(node["NodeID"], find_fault, paths)) for node in others
    ]
    faults = [(address, hear_fault(answer, within_seconds=_PATIENCE)) for address, answer in asked]
    return ", ".join(f"{address} ({fault})" for address, fault in faults if fault)


def _ask(node_id: str, find_fault: FindFault, paths: tuple[str, ...]) -> "ray.ObjectRef[str]":
    strategy = NodeAffinitySchedulingStrategy(node_id=node_id, soft=False)
    task = ray.remote(find_fault).options(num_cpus=0, scheduling_strategy=strategy)
    return task.remote(paths)


def hear_fault(answer: "ray.ObjectRef[str]", *, within_seconds: float) -> str:
    """Return the fault that a node found, or why it could not look; nothing where it has died."""
    try:
        return ray.get(answer, timeout=within_seconds)
    except GetTimeoutError:
        return f"no answer within {within_seconds:g} s, as of a mount whose server is gone"
    except (RayTaskError, RuntimeEnvSetupError) as error:
        return str(error).strip().splitlines()[-1]
    except RayError:
        return ""


def find_write_fault(directories: tuple[str, ...]) -> str:
    """Return why nothing can be written in a directory, in words; empty where it can."""
    try:
        for directory in directories:
            with tempfile.TemporaryFile(dir=directory):
                pass
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def find_read_fault(files: tuple[str, ...]) -> str:
    """Return why a file cannot be read, in words and with its name; empty where all can."""
    for file in files:
        try:
            with Path(file).open("rb") as stream:  # read, not looked for: a link may lead nowhere
                stream.read(1)
        except OSError as error:
            return f"{Path(file).name}: {error.strerror or type(error).__name__}"
    return ""
