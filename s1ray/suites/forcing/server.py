"""What the chat server adds to a request, beside a bare uvicorn echo; requests per second of both.

Every request is the same greedy one, whose continuation the engine remembers after the first: no
forward pass runs, so all that is measured is the server. Clients share the machine with it.
"""

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from s1ray.config.suites.forcing import ForcingSettings
from s1ray.suites.measuring.pairs import Spread, measure_in_turn

ROOT = Path(__file__).parents[3]
MILLISECONDS = 1000.0


def measure_server(settings: ForcingSettings) -> dict[str, Any]:
    """Return how ``jobs.serve`` on a tiny model compares with an echo.

    Raises:
        RuntimeError: A server did not come up, or answered with an error.
    """
    config = settings.server
    with tempfile.TemporaryDirectory() as storage:
        serve = ["jobs.serve", "experiment=tiny", f"paths.storage={storage}"]
        with (
            _run(serve, option="server.port=", seconds=config.start_seconds) as server,
            _run(["s1ray.suites.forcing.echo"], option="", seconds=config.start_seconds) as echo,
        ):
            loads = {
                "server": _Load(settings, f"{server}/v1/chat/completions"),
                "echo": _Load(settings, f"{echo}/v1/chat/completions"),
            }
            latencies = measure_in_turn(
                {name: load.time_one_client for name, load in loads.items()},
                num_pairs=settings.num_pairs,
            )
            rates = {
                str(clients): _compare_rates(settings, loads, num_clients=clients)
                for clients in config.num_clients
            }
    pairs = zip(latencies["server"].values, latencies["echo"].values, strict=True)
    added = Spread(values=tuple(whole - bare for whole, bare in pairs))
    return {
        "median_ms": {name: spread.describe() for name, spread in latencies.items()},
        "added_ms": added.describe(),
        "requests_per_second": rates,
    }


def _compare_rates(
    settings: ForcingSettings, loads: Mapping[str, "_Load"], *, num_clients: int
) -> dict[str, Any]:
    sides = {name: partial(load.rate, num_clients) for name, load in loads.items()}
    spreads = measure_in_turn(sides, num_pairs=settings.num_pairs)
    return {name: spread.describe() for name, spread in spreads.items()}


class _Load:
    """One request over and over, to one address."""

    def __init__(self, settings: ForcingSettings, url: str) -> None:
        config = settings.server
        self._config = config
        self._url = url
        budget = {
            "max_thinking_tokens": config.max_thinking_tokens,
            "max_answer_tokens": config.max_answer_tokens,
        }
        question = {"role": "user", "content": "What is 3 + 4?"}
        self._body = {"model": "s1ray", "messages": [question], "budget": budget}
        asyncio.run(self._ask(config.requests_per_client))

    def time_one_client(self) -> float:
        """Return the median milliseconds of a request, one after the other."""
        seconds = asyncio.run(self._ask(self._config.latency_requests))
        return statistics.median(seconds) * MILLISECONDS

    def rate(self, num_clients: int) -> float:
        """Return the requests per second of clients that each ask again as soon as answered."""
        return asyncio.run(self._rate(num_clients))

    async def _rate(self, num_clients: int) -> float:
        per_client = self._config.requests_per_client
        began = time.perf_counter()
        await asyncio.gather(*(self._ask(per_client) for _ in range(num_clients)))
        return num_clients * per_client / (time.perf_counter() - began)

    async def _ask(self, count: int) -> list[float]:
        """Ask so many times on one connection; return the seconds of each."""
        seconds = []
        async with httpx.AsyncClient(timeout=None) as client:
            for _ in range(count):
                began = time.perf_counter()
                response = await client.post(self._url, json=self._body)
                seconds.append(time.perf_counter() - began)
                if response.is_error:
                    raise RuntimeError(f"{self._url}: {response.status_code} {response.text}")
        return seconds


@contextmanager
def _run(module: list[str], *, option: str, seconds: float) -> Iterator[str]:
    """Run a server on a free port while the block runs; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", *module, f"{option}{port}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, process, seconds=seconds)
        yield url
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], *, seconds: float) -> None:
    """Wait until a server answers its health; Serve's proxy answers before its replicas can."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/health").is_success:
                return
        time.sleep(0.2)
    raise RuntimeError(f"no server at {url} within {seconds} s")
