"""Which two evaluations are compared, how, and what may differ between them."""

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from s1ray.config.base import Section


class BootstrapConfig(Section):
    """How sure a difference between two evaluations is."""

    num_resamples: PositiveInt
    confidence: Annotated[float, Field(gt=0, lt=1)]
    seed: NonNegativeInt


class CompareConfig(BootstrapConfig):
    """A comparison of two runs."""

    a: str
    """Run directory of an evaluation."""
    b: str
    """Of another; differences are b minus a."""
    subject: tuple[str, ...]
    """Dotted paths of a run's identity that a comparison is about."""
    allow: tuple[str, ...]
    """Further ones that may differ in this comparison; "items" admits unfinished runs."""
