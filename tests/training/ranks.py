"""Real processes joined over gloo, and what each of them does in a test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.training.plain_loop import draw_examples, measure_house_gradient


def run_on_ranks(
    world_size: int, directory: Path, function: Callable[..., object], *args: Any
) -> list[Any]:
    """Call ``function(*args)`` in that many joined processes; return what each returned."""
    mp.spawn(_join, args=(world_size, directory, function, args), nprocs=world_size)
    return [
        torch.load(directory / f"rank{rank}.pt", weights_only=False) for rank in range(world_size)
    ]


def _join(
    rank: int,
    world_size: int,
    directory: Path,
    function: Callable[..., object],
    args: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{directory}/store", rank=rank, world_size=world_size
    )
    try:
        torch.save(function(*args), directory / f"rank{rank}.pt")
    finally:
        dist.destroy_process_group()


def measure_gradients(model: Path, cases: list[dict[str, Any]]) -> list[Any]:
    """Return (metrics, gradients) of each case: drawn examples, weighting, sharding changes."""
    return [
        measure_house_gradient(
            model / case["model"],
            draw_examples(**case["examples"]),
            weighting=case["weighting"],
            **case["sharding"],
        )
        for case in cases
    ]
