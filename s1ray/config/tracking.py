"""Where results go and how they are followed."""

from typing import Literal, Self

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from s1ray.config.base import Section

TrackingMode = Literal["auto", "online", "offline", "disabled", "wandb_sweep"]


class PathsConfig(Section):
    """Directories."""

    storage: str
    """Of all runs; a shared mount where there are several machines."""
    cache: str | None
    """Of converted models; None for the user cache directory, "~" is expanded."""


class TrackingConfig(Section):
    """Weights & Biases as a sink of the run directory."""

    mode: TrackingMode
    """auto: online where the user is logged in, offline otherwise. wandb_sweep: ``jobs.sweep``
    hands its trials to W&B's own agents; for every other job as auto."""
    project: str
    entity: str | None
    group: str | None
    """Under which runs stand together; null for the experiment's name."""
    tags: tuple[str, ...]
    poll_seconds: PositiveFloat
    """How often the run directory's events are looked at."""
    init_timeout_seconds: PositiveFloat
    """How long an unreachable server may hold up the sink (never the run)."""
    upload_timeout_seconds: PositiveFloat
    """How long the client may go on uploading when the run has ended."""
    finish_timeout_seconds: PositiveFloat
    """How long the end of a run may wait for the sink, whatever it does; it is killed then, and
    what is left goes with `wandb sync`."""
    max_restarts: NonNegativeInt
    """How often a sink that died is started again."""
    restart_seconds: PositiveFloat
    """Pause before that."""
    table_rows: PositiveInt
    """Samples per logged table batch."""

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if self.upload_timeout_seconds >= self.finish_timeout_seconds:
            raise ValueError(
                f"upload_timeout_seconds={self.upload_timeout_seconds} leaves nothing of "
                f"finish_timeout_seconds={self.finish_timeout_seconds} for the sink to end in. "
                "Lower the first or raise the second."
            )
        return self


class LeaseConfig(Section):
    """Guards a run directory against a second writer."""

    heartbeat_seconds: float
    stale_seconds: float


class RayConfig(Section):
    """Which Ray the job runs on."""

    require_token: bool
    """Refuse a cluster beyond loopback that demands no token, for whoever reaches it runs code."""
    address: str | None
    """None: the cluster named by RAY_ADDRESS (as `ray job submit` sets it), else one of our own."""
    answer_seconds: PositiveFloat
    """How long a cluster named as host:port may take to answer before it counts as gone."""
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
    min_workers: PositiveInt | None
    """With how few training workers a run goes on while nodes are away; Ray starts more, up to
    ``sharding.num_workers``, as they come back. The global batch stays. None: never fewer."""
    drain_poll_seconds: PositiveFloat
    """How often training workers ask whether one of their nodes is about to be taken away."""
