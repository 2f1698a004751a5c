"""How an evaluation samples and keeps going, what it reports, whose scores stand beside it."""

from typing import Annotated, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from s1ray.config.base import Section

Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100)]


class EvaluationRuntimeConfig(Section):
    """How an evaluation is carried out; nothing here changes a result."""

    max_in_flight: PositiveInt | None
    """Samples being solved, or stored answers being graded, at once, over all replicas; None for
    as many as the replicas work on."""
    max_attempts: PositiveInt
    """How often a question is tried before it is reported as failed."""
    retry_seconds: NonNegativeFloat
    """Pause before the second attempt; it doubles from attempt to attempt."""
    max_consecutive_failures: PositiveInt
    """Questions that may fail one after the other before the evaluation gives up."""
    sync_rows: PositiveInt
    """Samples after which the file is made durable."""
    sync_seconds: PositiveFloat
    """How old a sample may grow before the file is made durable."""


class EvaluationConfig(Section):
    """What is sampled and what is reported of it."""

    seed: NonNegativeInt
    """Every sample's own seed derives from it, its benchmark, its item and its number."""
    num_samples: PositiveInt
    """Per question and policy."""
    quantiles: tuple[Share, ...]
    """Shares at which thinking tokens are reported."""
    pass_at: tuple[PositiveInt, ...]
    """The k of pass@k."""
    majority_at: tuple[PositiveInt, ...]
    """The k of maj@k."""
    majority_subsets: PositiveInt
    """Subsets of a question's samples that a maj@k is averaged over."""
    solved_share: Annotated[float, Field(gt=0, le=1)]
    """Share of a question's samples that must be correct for a budget to solve it."""
    runtime: EvaluationRuntimeConfig

    @model_validator(mode="after")
    def _check_draws(self) -> Self:
        for name in ("pass_at", "majority_at"):
            sizes = getattr(self, name)
            if any(size > self.num_samples for size in sizes):
                raise ValueError(
                    f"{name}={list(sizes)} draws more than num_samples={self.num_samples}. "
                    "Raise num_samples or remove the larger values."
                )
        return self


class ComparatorConfig(Section):
    """One system's published scores."""

    name: str
    source: str
    """A key of ``sources``."""
    accuracy_percent: dict[str, Percent]
    """By benchmark, as printed."""


class PublishedCurveConfig(Section):
    """One system's published accuracies at published lengths of thinking."""

    system: str
    method: str
    """How thinking was scaled, as a policy's name begins: budget, wait, token, step, class."""
    benchmark: str
    source: str
    """A key of ``sources``."""
    points: tuple[tuple[PositiveFloat, Percent], ...]
    """Mean thinking tokens and accuracy."""


class ComparatorsConfig(Section):
    """Published scores, quoted and not measured here."""

    sources: dict[str, str]
    systems: tuple[ComparatorConfig, ...]
    curves: tuple[PublishedCurveConfig, ...]
    drawn: tuple[str, ...]
    """Systems whose scores are lines in the figure of accuracy; all stand in the table."""

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        for name, source in (
            *((system.name, system.source) for system in self.systems),
            *((curve.system, curve.source) for curve in self.curves),
        ):
            if source not in self.sources:
                raise ValueError(
                    f"{name} names the source {source!r}; known are {sorted(self.sources)}. Add it "
                    "to sources: no score without its source."
                )
        return self

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [system.name for system in self.systems]
        if len(set(names)) != len(names):
            raise ValueError(f"a system occurs twice in {names}; give each a name of its own.")
        unknown = set(self.drawn) - set(names)
        if unknown:
            raise ValueError(
                f"drawn names {sorted(unknown)}, whose scores are not here; legal: {names}."
            )
        return self
