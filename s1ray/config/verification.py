"""The schema of conf/verification: what ``jobs.verify_resume`` holds a resumed run to."""

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from s1ray.config.base import Section


class VerificationConfig(Section):
    """How an interrupted run is held against an uninterrupted one."""

    other_num_workers: PositiveInt
    """On how many workers the rest is done of a run that began on ``sharding.num_workers``."""
    absolute_tolerance: NonNegativeFloat
    """How far a number may differ on another number of workers; on as many, not one bit."""
    relative_tolerance: NonNegativeFloat
    timeout_seconds: PositiveFloat
    """How long one run may take before it counts as stuck."""
