"""The settings of the checkpoint suite: which run is saved and killed, and when."""

from pydantic import PositiveFloat, PositiveInt

from s1ray.config.base import Section
from s1ray.config.suites.job import SuiteSettings


class StallSettings(Section):
    """How a save is timed."""

    steps_between_saves: PositiveInt
    """Enough that an asynchronous one is written when the next begins."""


class LostWorkSettings(Section):
    """When a job is killed."""

    num_kills: PositiveInt
    seed: int
    """Of the instants."""
    shortest_seconds: PositiveFloat
    """From the first step that a job does to its end."""
    longest_seconds: PositiveFloat
    timeout_seconds: PositiveFloat
    """How long a job may take to its first step."""


class CheckpointSettings(SuiteSettings):
    """Saves of a real run, timed and interrupted."""

    recipe: tuple[str, ...]
    """What a command line would say to ``jobs.train``."""
    stall: StallSettings
    lost_work: LostWorkSettings
