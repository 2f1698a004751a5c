"""A Ray to run on: the cluster that is named, or one of our own for as long as the job lasts."""

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

import ray

from s1ray.config.tracking import RayConfig
from s1ray.orchestration.cluster.secrets_at_hand import TOKEN_PATH, find_token_file
from s1ray.orchestration.cluster.security import refuse_open_cluster
from s1ray.orchestration.terminal import say

ROOT = Path(__file__).parents[3]

LOCAL = "local"
_OWN = "s1ray.io/own"
"""A label of the one node of a Ray of our own, so that every process on it can tell."""


def choose_address(config: RayConfig) -> str:
    """Return the address of the Ray to join; ``local`` for one of our own."""
    return config.address or os.environ.get("RAY_ADDRESS") or LOCAL


@contextmanager
def ray_session(
    config: RayConfig, *, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[None]:
    """Connect to Ray while the block runs; a Ray that was there before stays as it is.

    Args:
        config: Which Ray, or how large one of our own is.
        environment: Variables of every process of a Ray of our own.

    Raises:
        ConnectionError: Nothing answers at the address.
        RefusedError: The cluster is reachable beyond this machine and demands no token.
    """
    if ray.is_initialized():
        yield
        return
    address = choose_address(config)
    for chatty in ("ray", "ray.serve", "ray.train", "ray.data"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    if address == LOCAL:
        say("starting Ray on this machine")
        python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        ray.init(
            address=LOCAL,
            num_cpus=config.num_cpus,
            object_store_memory=int(config.object_store_gib * 2**30),
            labels={_OWN: "true"},
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": python_path, **environment}},
        )
        _hide_token()
    else:
        say(f"joining the Ray cluster at {address}")
        refuse_silence(address, answer_seconds=config.answer_seconds)
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    try:
        if config.require_token:
            nodes = ray.nodes()  # type: ignore[no-untyped-call]
            refuse_open_cluster(node["NodeManagerAddress"] for node in nodes)
        yield
    finally:
        ray.shutdown()


def _hide_token() -> None:
    """Keep Ray's token from this machine's other users: Ray 2.60 makes its file for all to read."""
    token = find_token_file()
    if token is not None and TOKEN_PATH not in os.environ:
        with suppress(PermissionError):  # somebody else's, as a home can be
            token.chmod(0o600)


def is_own_ray() -> bool:
    """Whether the Ray that is connected was begun by a job of ours, and ends with it as it is."""
    return any(_OWN in node["Labels"] for node in ray.nodes())  # type: ignore[no-untyped-call]


def refuse_silence(address: str, *, answer_seconds: float) -> None:
    """Refuse a host:port where nothing listens: Ray would ask it for minutes, without a word.

    Other forms, such as ``auto`` and ``ray://head:10001``, are Ray's own to read.

    Raises:
        ConnectionError: Nothing answers there.
    """
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=answer_seconds).close()
    except OSError as error:
        raise ConnectionError(
            f"No Ray answers at {address} ({error}). Start the cluster, or name another with "
            "ray.address= or RAY_ADDRESS."
        ) from error
