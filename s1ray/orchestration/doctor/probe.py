"""What one node says of itself. A plain class, run as an actor on every node; it judges nothing."""

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import torch
import torch.distributed as dist

from s1ray.orchestration.cluster.secrets_at_hand import find_token_file
from s1ray.orchestration.cluster.security import is_token_demanded
from s1ray.orchestration.doctor.gpus import Gpu, read_gpus
from s1ray.orchestration.run_directory.provenance import read_versions

GIB = 2**30
_URL_VARIABLES = {"wandb": "WANDB_BASE_URL", "hub": "HF_ENDPOINT"}
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """A node at one moment."""

    host: str
    versions: Mapping[str, str]
    gpus: tuple[Gpu, ...]
    gpu_fault: str
    """Why the driver names none; empty where it does, and where there is no driver."""
    num_torch_gpus: int
    """That torch can use: fewer where its build lacks CUDA or the driver is too old."""
    storage_gib: float | None
    """Free; None where the directory is not there."""
    temporary_gib: float
    """Free where temporary files go."""
    is_token_demanded: bool
    token_mode: int | None
    """Permissions of the token's file; None where the token comes from elsewhere."""
    unreachable: Mapping[str, str]
    """Services that did not answer, with the reason."""


class NodeProbe:
    """Answers for one node; as a member of a group, measures the network between nodes."""

    def read_facts(
        self, *, storage: str, service_urls: Mapping[str, str], connect_seconds: float
    ) -> NodeFacts:
        """Return what this node is.

        Args:
            storage: The directory that all nodes should share.
            service_urls: Services outside, by name.
            connect_seconds: How long each may take to answer.
        """
        token = find_token_file()
        reading = read_gpus()
        return NodeFacts(
            host=socket.gethostname(),
            versions=read_versions(),
            gpus=reading.gpus,
            gpu_fault=reading.fault,
            num_torch_gpus=torch.cuda.device_count(),
            storage_gib=shutil.disk_usage(storage).free / GIB if Path(storage).is_dir() else None,
            temporary_gib=shutil.disk_usage(tempfile.gettempdir()).free / GIB,
            is_token_demanded=is_token_demanded(),
            token_mode=None if token is None else token.stat().st_mode & 0o777,
            unreachable=_find_unreachable(service_urls, seconds=connect_seconds),
        )

    def read_clock(self) -> float:
        """Return this node's Unix time in seconds."""
        return time.time()

    def write_marker(self, path: str, text: str) -> str | None:
        """Write a small file; return why that failed, None where it did not."""
        try:
            Path(path).write_text(text, encoding="utf-8")
        except OSError as error:
            return error.strerror or str(error)
        return None

    def find_missing(self, markers: Mapping[str, str], *, seconds: float) -> list[str]:
        """Return the markers that this node cannot read back as they were written.

        Args:
            markers: Text by path.
            seconds: How long to wait for them.
        """
        deadline = time.monotonic() + seconds
        while True:
            missing = [path for path, text in markers.items() if _read(path) != text]
            if not missing or time.monotonic() > deadline:
                return missing
            time.sleep(_LOOK_SECONDS)

    def open_port(self, host: str) -> int:
        """Return a free port of this node's address."""
        with socket.socket() as opened:
            opened.bind((host, 0))
            return int(opened.getsockname()[1])

    def time_all_reduce(
        self,
        *,
        meeting_point: str,
        rank: int,
        world_size: int,
        message_bytes: Sequence[int],
        num_repeats: int,
        timeout_seconds: float,
    ) -> list[float]:
        """Return the fastest seconds of an all-reduce of each size, together with all others.

        Args:
            meeting_point: ``host:port`` of rank 0.
            rank: This member's.
            world_size: Members.
            message_bytes: Sizes.
            num_repeats: Of each size.
            timeout_seconds: For the meeting, and for each all-reduce.
        """
        device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            init_method=f"tcp://{meeting_point}",
            rank=rank,
            world_size=world_size,
            timeout=timedelta(seconds=timeout_seconds),
        )
        try:
            return [_time_messages(size, num_repeats, device) for size in message_bytes]
        finally:
            dist.destroy_process_group()


def _time_messages(num_bytes: int, num_repeats: int, device: torch.device) -> float:
    message = torch.ones(num_bytes // 4, device=device)
    fastest = float("inf")
    for _ in range(num_repeats + 1):  # the first one opens the connections
        dist.barrier()
        began = time.perf_counter()
        dist.all_reduce(message)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        fastest = min(fastest, time.perf_counter() - began)
    return fastest


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return None


def _find_unreachable(service_urls: Mapping[str, str], *, seconds: float) -> dict[str, str]:
    reasons = {}
    for name, default in service_urls.items():
        url = os.environ.get(_URL_VARIABLES.get(name, ""), default)
        try:
            with urlopen(url, timeout=seconds):
                continue
        except HTTPError:
            continue  # it answers
        except (URLError, OSError, ValueError) as error:
            reasons[name] = f"{url}: {error}"
    return reasons
