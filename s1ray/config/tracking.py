"""Where results go and how they are followed."""

from typing import Literal

from s1ray.config.base import Section

TrackingMode = Literal["auto", "online", "offline", "disabled"]


class PathsConfig(Section):
    """Directories."""

    storage: str
    """Of all runs; a shared mount where there are several machines."""
    cache: str | None
    """Of converted models; None for the user cache directory, "~" is expanded."""


class TrackingConfig(Section):
    """Weights & Biases as a sink of the run directory."""

    mode: TrackingMode
    """auto: online where the user is logged in, offline otherwise."""
    project: str
    entity: str | None
    tags: tuple[str, ...]
    poll_seconds: float
    """How often the run directory's events are looked at."""
    init_timeout_seconds: float
    """How long an unreachable server may hold up the sink (never the run)."""
    finish_timeout_seconds: float
    """How long the end of a run may wait for uploads; what is left goes with `wandb sync`."""
    table_rows: int
    """Samples per logged table batch."""


class LeaseConfig(Section):
    """Guards a run directory against a second writer."""

    heartbeat_seconds: float
    stale_seconds: float


class RayConfig(Section):
    """Which Ray the job runs on."""

    address: str | None
    """None: the cluster named by RAY_ADDRESS (as `ray job submit` sets it), else one of our own."""
    num_cpus: int | None
    """Of a Ray of our own; None for all cores."""
    object_store_gib: float
    """Of a Ray of our own."""
    worker_cpus: float
    """Of each training worker; on the CPU also its threads."""
    max_failures: int
    """How often the workers are started again after one died, before the run fails."""
    collective_timeout_seconds: int
    """How long a training worker waits for the others before it counts as hung."""
