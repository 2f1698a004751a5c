"""The schema of ``conf/submit.yaml``: what is sent to a cluster, and how it is followed."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from s1ray.config.base import Section
from s1ray.config.planning import ClusterConfig, KuberayConfig


class OnPremConfig(Section):
    """Machines that are there already, as Ray's cluster launcher must know them."""

    name: str
    head_ip: str
    """The machine that runs the head, and works."""
    worker_ips: tuple[str, ...]
    ssh_user: str
    token_file: str
    """Absolute path of Ray's token, mode 0600, on your machine and on theirs."""
    storage_path: str
    """Where all of them mount the same storage; fetched models lie below it."""


class SubmitConfig(Section):
    """One submission."""

    target: Literal["ray", "kuberay", "on_prem"]
    """``ray``: a running cluster; ``kuberay``: a RayJob with a cluster of its own; ``on_prem``: the
    launcher file of machines that are there already, printed."""
    address: str | None
    """Of the cluster's job server; None: RAY_API_SERVER_ADDRESS, else RAY_ADDRESS, else this
    machine's."""
    dry: bool
    """Check, stage and print; send nothing. ``--dry`` says the same."""
    stop: bool
    """Stop the job that the same command submitted. ``--stop`` says the same."""
    follow: bool
    """Show the job's log until it ends."""
    command: Annotated[tuple[str, ...], Field(min_length=1)]
    """What runs where nothing follows ``--``."""
    environment: dict[str, str]
    """Of the job's processes. Anyone who reaches the cluster reads it: no secrets."""
    size_limit_mib: PositiveFloat
    """Of all staged files; Ray keeps them in the head's memory."""
    num_named: PositiveInt
    """How many of the largest files are named where the limit is passed."""
    stop_wait_seconds: PositiveInt
    """Between SIGTERM and SIGKILL of a stopped job: time for a checkpoint."""
    poll_seconds: PositiveFloat
    """Between two looks at a job's state."""
    start_seconds: PositiveFloat
    """How long a cluster that has just started may take until it accepts jobs."""
    require_token: bool
    """Refuse a cluster beyond loopback that does not demand a token."""
    cluster: ClusterConfig
    """The hardware that ``target=kuberay`` asks for."""
    kuberay: KuberayConfig
    on_prem: OnPremConfig
