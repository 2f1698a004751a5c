"""Evaluation replicas on Ray Serve: how many, and what each holds."""

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from s1ray.config.base import Section


class ServingConfig(Section):
    """Replicas of one engine; one replica owns one sample's whole chain."""

    num_replicas: PositiveInt
    num_cpus: PositiveFloat
    """Of each replica."""
    num_gpus: NonNegativeFloat
    groups_per_replica: PositiveInt
    """Samples (each with all its budgets) that a replica works on at once."""
    health_check_seconds: PositiveFloat
    """How often a replica is asked whether it lives."""
    abandoned_seconds: PositiveFloat
    """Silence of the job on another host after which its replicas end themselves, so that a killed
    job holds no part of a cluster. Several times lease.stale_seconds: storage may show late."""

    def count_groups(self) -> int:
        """Return how many samples all replicas work on at once."""
        return self.num_replicas * self.groups_per_replica
