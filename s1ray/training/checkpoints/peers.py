"""The ranks that save or load together, and how they agree on one outcome.

It does not know what they save. A single process needs no process group.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch.distributed as dist

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """One rank among those that take part in every call."""

    rank: int
    world_size: int
    group: dist.ProcessGroup | None
    """None for a single process."""

    def gather(self, item: T) -> list[T]:
        """Return every rank's item, by rank."""
        if self.group is None:
            return [item]
        items: list[T | None] = [None] * self.world_size
        dist.all_gather_object(items, item, group=self.group)
        return items  # type: ignore[return-value]

    def decide(self, make: Callable[[], T]) -> T:
        """Return everywhere what ``make`` returns on rank 0, or raise its error everywhere."""
        made: list[T | Exception | None] = [None]
        if self.rank == 0:
            try:
                made = [make()]
            except Exception as error:  # raised below, on every rank
                made = [error]
        if self.group is not None:
            dist.broadcast_object_list(made, group=self.group, group_src=0)
        outcome = made[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome  # type: ignore[return-value]


def join_peers(*, timeout_seconds: float) -> Peers:
    """Return a new set of peers with a gloo group of its own; a collective call.

    A group of its own lets a thread save while training communicates, and gloo carries what lies
    in host memory where training itself uses NCCL.

    Args:
        timeout_seconds: How long one rank waits for another.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return Peers(rank=0, world_size=1, group=None)
    group = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout_seconds))
    return Peers(rank=dist.get_rank(), world_size=dist.get_world_size(), group=group)
