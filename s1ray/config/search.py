"""What a sweep varies, and how its trials are run, stopped early and compared."""

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from s1ray.config.base import Section

Setting = Annotated[str, Field(pattern=r"^[a-z_][A-Za-z0-9_@/.]*$")]


class OptionsAxisConfig(Section):
    """Named sets of overrides, each tried: such as data sets or ways of scaling."""

    kind: Literal["options"]
    options: Annotated[dict[str, tuple[str, ...]], Field(min_length=1)]
    """Overrides as on the command line, by the name that tables and dashboards show."""
    only: str | None
    """The one name that is run; null for all."""


class GridAxisConfig(Section):
    """Values of one setting, each tried."""

    kind: Literal["grid"]
    setting: Setting
    values: Annotated[tuple[JsonValue, ...], Field(min_length=1)]
    only: JsonValue
    """The one value that is run; null for all."""


class ChoiceAxisConfig(Section):
    """Values of one setting, of which every draw takes one."""

    kind: Literal["choice"]
    setting: Setting
    values: Annotated[tuple[JsonValue, ...], Field(min_length=1)]
    only: JsonValue
    """The one value that is run; null for a draw."""


class LogUniformAxisConfig(Section):
    """Numbers of one setting, whose logarithm is drawn evenly."""

    kind: Literal["log_uniform"]
    setting: Setting
    low: PositiveFloat
    """The smallest number drawn, in the setting's own unit."""
    high: PositiveFloat
    """The largest."""
    only: PositiveFloat | None
    """The one number that is run; null for a draw."""

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low={self.low} is not below high={self.high}; exchange them.")
        return self


AxisConfig = Annotated[
    OptionsAxisConfig | GridAxisConfig | ChoiceAxisConfig | LogUniformAxisConfig,
    Field(discriminator="kind"),
]


class EqualConfig(Section):
    """What trainings on data of different sizes have in common."""

    by: Literal["epochs", "steps", "tokens"] | None
    """Every sample is seen as often, every run makes as many optimizer steps, or every run sees as
    many tokens; null leaves the training's own length."""
    epochs: PositiveInt
    steps: PositiveInt
    tokens: PositiveInt


class SearchConfig(Section):
    """A search space: every combination of what is tried, for every draw of what is drawn."""

    axes: dict[str, AxisConfig]
    """By name. Their order is that of the table; budgets cost least where they are an axis of
    their own, for the caps and Waits of one model are one evaluation."""
    draws: PositiveInt
    """How often the axes that are drawn are drawn; without effect where there are none."""
    seed: int
    """Of the draws."""
    equal: EqualConfig


class TrialsConfig(Section):
    """How trials are run, whatever decides which of them go on."""

    max_concurrent: PositiveInt | None
    """Trials at the same time; null for as many as the cluster holds."""
    max_failures: int
    """How often a trial whose process died is begun again; it goes on where it stood."""
    report_every_tokens: PositiveInt
    """Training tokens between two reports of a trial."""
    poll_seconds: PositiveFloat
    """How often a trial looks for news of its training."""
    wait_seconds: NonNegativeFloat
    """How long a trial waits for a step that another job or trial is doing."""


class FifoConfig(TrialsConfig):
    """Every trial runs to its end."""

    kind: Literal["fifo"]


class StoppingConfig(TrialsConfig):
    """When early stopping compares: always the mean training loss since the report before.

    With one epoch every sample is new, so that it is an honest loss; with several it also rewards
    learning by heart.
    """

    grace_tokens: PositiveInt
    """Training tokens that every trial may see."""


class AshaConfig(StoppingConfig):
    """Asynchronous successive halving over training tokens (arXiv 1810.05934)."""

    kind: Literal["asha"]
    max_tokens: PositiveInt
    """Training tokens beyond which nothing is compared."""
    reduction_factor: Annotated[float, Field(gt=1)]
    """One of so many trials goes on at every rung; rungs are so many times further apart."""

    @model_validator(mode="after")
    def _check_rungs(self) -> Self:
        if self.grace_tokens > self.max_tokens:
            raise ValueError(
                f"grace_tokens={self.grace_tokens} exceeds max_tokens={self.max_tokens}; lower it."
            )
        return self


class MedianConfig(StoppingConfig):
    """A trial ends when its best is worse than the median of the others' means."""

    kind: Literal["median"]
    min_trials: PositiveInt
    """Trials that must have come as far before one is stopped."""


SchedulerConfig = Annotated[FifoConfig | AshaConfig | MedianConfig, Field(discriminator="kind")]
