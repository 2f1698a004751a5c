"""The settings of the evaluation suite: how much is graded, solved, killed and forwarded."""

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from s1ray.config.grading import GradingConfig
from s1ray.config.suites.job import SuiteSettings
from s1ray.config.tracking import TrackingConfig

Overrides = tuple[str, ...]
"""Of ``conf/recipe.yaml``, as on a job's command line."""


class EvaluationSettings(SuiteSettings):
    """How the evaluator is measured: its grader, its replicas, its losses and its stream."""

    grading: GradingConfig
    num_graded: PositiveInt
    """Answers graded per measurement; every third needs algebra."""
    replicas: Overrides
    """The recipe that one replica and two replicas solve."""
    kills: Overrides
    """The recipe that is killed."""
    kill_at: Annotated[float, Field(gt=0, lt=1)]
    """Share of the samples that are there when something is killed."""
    stream: Overrides
    """The recipe whose first result is waited for."""
    tracking: TrackingConfig
    num_events: PositiveInt
    """Rows forwarded to W&B's client per measurement."""
    wait_seconds: PositiveFloat
    """How long a killed or watched job may take at most."""
