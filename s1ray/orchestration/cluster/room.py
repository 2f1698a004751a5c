"""Whether a Ray has room for what a job is about to run on it; Ray itself waits without a word.

It counts what the nodes have, not what is free: what others hold now they give back.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ray

from s1ray.orchestration.cluster.session import is_own_ray
from s1ray.orchestration.run_directory.runs import RefusedError
from s1ray.orchestration.terminal import say

_DIGITS = 4
"""As Ray counts its resources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Processes that are to run at once."""

    name: str
    """What they are, in words and in the plural."""
    count: int
    each: Mapping[str, float]
    """What one of them holds, on one node, by Ray's names; 0 for nothing."""
    remedy: str
    """What to change where there is no room, in words."""


def await_room(need: Need) -> None:
    """Say what is waited for, where a cluster has no room and may grow.

    Raises:
        RefusedError: A Ray of our own has no room, and never will.
    """
    nodes = [
        node["Resources"]
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]
    shortage = describe_shortage(need, nodes)
    if shortage is None:
        return
    if is_own_ray():
        raise RefusedError(
            f"no room for {shortage}. To go on, {need.remedy}, raise ray.num_cpus, or join a "
            "larger cluster (ray.address)."
        )
    say(f"waiting for {shortage}")


def describe_shortage(need: Need, nodes: Sequence[Mapping[str, float]]) -> str | None:
    """Return what is needed beside what is there; None where there is room.

    Args:
        need: What is to run.
        nodes: What each node has, by Ray's names.
    """
    each = {name: amount for name, amount in need.each.items() if amount}
    places = sum(count_places(each, node) for node in nodes)
    if not each or places >= need.count:
        return None
    wanted = _describe({name: amount * need.count for name, amount in each.items()})
    there = _describe({name: sum(node.get(name, 0) for node in nodes) for name in each})
    return (
        f"{wanted} ({need.count} {need.name} of {_describe(each)} each); the cluster has {there}, "
        f"room for {places}"
    )


def count_places(each: Mapping[str, float], node: Mapping[str, float]) -> int:
    """Return how many processes have room at once, where one of them holds ``each``, not all 0."""
    # Rounded first: three times 0.2 are in 0.6, though not by the last digit of a float.
    return min(
        math.floor(round(node.get(name, 0) / amount, _DIGITS)) for name, amount in each.items()
    )


def _describe(amounts: Mapping[str, float]) -> str:
    return " and ".join(
        f"{amount:g} {name}{'' if amount == 1 else 's'}" for name, amount in amounts.items()
    )
