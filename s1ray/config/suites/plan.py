"""The settings of the plan suite: which models are trained, on what, and how it calibrates."""

from typing import Annotated

from pydantic import Field, PositiveInt

from s1ray.config.base import Section
from s1ray.config.suites.job import SuiteSettings


class LayoutSettings(Section):
    """One optimizer step whose time is predicted and then taken."""

    sample_tokens: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    micro_batch_tokens: PositiveInt
    """Most tokens of one forward pass."""


class PlannedModelSettings(Section):
    """One model on this machine."""

    overrides: tuple[str, ...]
    """Of the recipe: which experiment, and how it is sharded."""
    slice_layers: tuple[PositiveInt, PositiveInt]
    """Two cuts of the model, few layers and more, that are timed; the rest is extrapolated."""
    probe_tokens: tuple[PositiveInt, PositiveInt]
    """A short and a long row for the cuts."""
    num_repeats: PositiveInt
    """Of each timing, of which the middle one counts."""
    layouts: dict[str, LayoutSettings]


class PlannedModels(Section):
    """The suite's models; each is a part of its name."""

    tiny: PlannedModelSettings
    smollm2: PlannedModelSettings


class PlanSettings(SuiteSettings):
    """How well ``jobs.plan`` knows this machine once its rates were measured here."""

    num_threads: PositiveInt
    prompt_share: Annotated[float, Field(gt=0, lt=1)]
    """Of every sample's tokens; they carry no loss."""
    models: PlannedModels
    report_overrides: tuple[str, ...]
    """Of the recipe on whose cluster the reported outcomes are planned."""
