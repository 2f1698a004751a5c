"""The settings of the gpu suite: which slices of a large model, and how each is trained."""

from typing import Annotated

from pydantic import Field, PositiveInt

from s1ray.config.base import Section
from s1ray.config.planning import ClusterConfig, PlanningConfig
from s1ray.config.suites.job import SuiteSettings
from s1ray.config.suites.training import AttentionConfig, CrossEntropyConfig
from s1ray.config.training import ActivationCheckpointing, ShardingConfig, TrainingConfig


class SlicesConfig(Section):
    """A few layers of a large model with its whole head, over every combination of what follows."""

    shape: dict[str, int | float | bool]
    """Arguments of transformers' Qwen2Config; the layers are counted below."""
    num_layers: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    document_tokens: Annotated[tuple[tuple[PositiveInt, ...], ...], Field(min_length=1)]
    """Rows: the tokens of their documents."""
    activation_checkpointing: Annotated[tuple[ActivationCheckpointing, ...], Field(min_length=1)]
    compile: Annotated[tuple[bool, ...], Field(min_length=1)]
    warm_up_steps: PositiveInt
    """Not timed; compilation happens in them."""
    seed: int


class GpuSuiteSettings(SuiteSettings):
    """What the gpu suite measures."""

    training: TrainingConfig
    sharding: ShardingConfig
    cluster: ClusterConfig
    """The device, whose ``peak_tflops`` are the whole of the MFU."""
    planning: PlanningConfig
    """Only its assumptions are read."""
    slices: SlicesConfig
    attention: AttentionConfig
    cross_entropy: CrossEntropyConfig
