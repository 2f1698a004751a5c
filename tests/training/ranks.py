"""Real processes joined over gloo, and what each of them does in a test."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
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


class RankPool:
    """Joined processes that stay, so that many small cases cost one start."""

    def __init__(self, connections: list[Connection]) -> None:
        self._connections = connections

    def measure(self, model: Path, case: dict[str, Any]) -> list[Any]:
        """Return each rank's (metrics, gradients) of a case, as ``measure_gradients`` has it."""
        for connection in self._connections:
            connection.send((model, case))
        return [_restore(connection.recv()) for connection in self._connections]


@contextmanager
def open_rank_pool(world_size: int, directory: Path) -> Iterator[RankPool]:
    context = mp.get_context("spawn")
    pipes = [context.Pipe() for _ in range(world_size)]
    processes = [
        context.Process(target=_serve, args=(rank, world_size, directory, far), daemon=True)
        for rank, (_, far) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    for _, far in pipes:
        far.close()  # so that a rank that dies is an end of file, not a wait for ever
    try:
        yield RankPool([near for near, _ in pipes])
    finally:
        for near, _ in pipes:
            near.close()
        for process in processes:
            process.join()


def _serve(rank: int, world_size: int, directory: Path, connection: Connection) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{directory}/store", rank=rank, world_size=world_size
    )
    while True:
        try:
            model, case = connection.recv()
        except EOFError:
            break
        ((metrics, gradients),) = measure_gradients(model, [case])
        connection.send((metrics, {name: value.numpy() for name, value in gradients.items()}))
    dist.destroy_process_group()


def _restore(measured: tuple[Any, dict[str, Any]]) -> tuple[Any, dict[str, torch.Tensor]]:
    metrics, gradients = measured
    return metrics, {name: torch.from_numpy(value) for name, value in gradients.items()}


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
