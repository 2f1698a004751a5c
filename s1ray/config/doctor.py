"""The schema of ``conf/doctor.yaml``: what a cluster is held against, and how patiently."""

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from s1ray.config.base import Section
from s1ray.config.planning import ClusterConfig
from s1ray.config.tracking import PathsConfig, RayConfig, TrackingConfig

Share = Annotated[float, Field(gt=0, le=1)]


class DoctorConfig(Section):
    """One examination of a running cluster."""

    cluster: ClusterConfig
    """What the cluster is meant to be: nodes, devices and their memory, the network between."""
    needs_hub: bool
    """Whether a run there fetches models or questions from the Hugging Face hub."""
    service_urls: dict[str, str]
    """``wandb`` and ``hub``, where WANDB_BASE_URL and HF_ENDPOINT do not say otherwise."""
    patience_seconds: PositiveFloat
    """How long a node may take to answer."""
    connect_seconds: PositiveFloat
    """How long a service outside may take to answer."""
    storage_seconds: PositiveFloat
    """How long a file that one node wrote may take to appear on another."""
    clock_skew_seconds: PositiveFloat
    """Between two nodes; leases and logs compare their clocks."""
    min_storage_gib: PositiveFloat
    """Free below ``paths.storage``."""
    min_temporary_gib: PositiveFloat
    """Free where temporary files go, on every node."""
    min_memory_share: Share
    """Of the planned memory that every GPU must have."""
    min_power_share: Share
    """Of its default that a GPU's power limit must have."""
    message_mib: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    """Sizes of the all-reduces that the network is measured with; the last one counts."""
    num_repeats: PositiveInt
    """All-reduces of each size; the fastest counts."""
    min_network_share: Share
    """Of the planned rate between nodes; less is a failure."""
    good_network_share: Share
    """Less than this of the planned rate is a warning."""
    paths: PathsConfig
    tracking: TrackingConfig
    ray: RayConfig
