"""A Ray to run on: the cluster that is named, or one of our own for as long as the job lasts."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from s1ray.config.tracking import RayConfig
from s1ray.orchestration.terminal import say

ROOT = Path(__file__).parents[2]


@contextmanager
def ray_session(config: RayConfig) -> Iterator[None]:
    """Connect to Ray while the block runs; a Ray that was there before stays as it is."""
    if ray.is_initialized():
        yield
        return
    address = config.address or os.environ.get("RAY_ADDRESS") or "local"
    for chatty in ("ray", "ray.serve", "ray.train", "ray.data"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    if address == "local":
        say("starting Ray on this machine")
        python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        ray.init(
            address="local",
            num_cpus=config.num_cpus,
            object_store_memory=int(config.object_store_gib * 2**30),
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": python_path}},
        )
    else:
        say(f"joining the Ray cluster at {address}")
        ray.init(address=address, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()
