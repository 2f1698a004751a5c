"""The settings of the training suite: what is trained, by whom, and how large its parts are."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from s1ray.config.base import Section
from s1ray.config.model import ModelConfig, RandomModelConfig
from s1ray.config.planning import PlanningConfig
from s1ray.config.suites.job import SuiteSettings
from s1ray.config.tracking import RayConfig
from s1ray.config.training import ShardingConfig, TrainingConfig


class MixtureConfig(Section):
    """Running sums whose lengths are as uneven as those of real traces."""

    seed: int
    log_mean_terms: float
    """Mean of the natural logarithm of a sum's terms."""
    log_deviation_terms: PositiveFloat
    """Standard deviation of the logarithm of the number of terms."""
    min_terms: Annotated[int, Field(ge=2)]
    max_terms: PositiveInt
    max_number: PositiveInt
    phrasings: tuple[str, ...]


class TrainersConfig(Section):
    """The fine-tune against TRL's, step by step on the same samples."""

    mixture: MixtureConfig
    warm_up_steps: PositiveInt
    """Before those that are timed."""
    check_steps: PositiveInt
    """Steps in float32 whose losses must agree before anything is timed."""
    check_batch_size: PositiveInt
    """Samples of such a step."""
    loss_tolerance: PositiveFloat
    """Largest difference of two losses of the same step in float32, nats."""
    start_seconds: PositiveFloat
    """How long a trainer may take to load."""
    trl_version: str
    """The release that is compared with; its minor version must be the installed one's."""
    matrix_size: PositiveInt
    """Rows and columns of the factors whose product's rate is the ceiling."""


class AttentionConfig(Section):
    """One layer's attention over a packed row, forward and backward."""

    num_heads: PositiveInt
    num_key_value_heads: PositiveInt
    head_dim: PositiveInt
    document_tokens: tuple[PositiveInt, ...]
    dtype: Literal["float32", "bfloat16"]
    tolerance: PositiveFloat
    """Largest difference of outputs and gradients between the two ways."""
    repeats: PositiveInt
    """Calls of one measurement."""


class CrossEntropyConfig(Section):
    """The loss of a linear head, forward and backward."""

    positions: PositiveInt
    hidden_size: PositiveInt
    vocabulary: PositiveInt
    dtype: Literal["float32", "bfloat16"]
    """Of the products; weights and hidden states are float32."""
    chunk_tokens: PositiveInt
    tolerance: PositiveFloat
    """Largest relative difference of the loss and of the gradients' norms."""


class BalanceConfig(Section):
    """A step's samples over GPUs: one sample a GPU, against groups that share theirs."""

    global_batch_size: PositiveInt
    seed: int
    sharding: ShardingConfig


class LaunchersConfig(Section):
    """The same loop on the same random model, started by Ray Train and by torchrun."""

    model: RandomModelConfig
    training: TrainingConfig
    sharding: ShardingConfig
    ray: RayConfig
    sample_tokens: PositiveInt
    num_pairs: PositiveInt
    """Steps are short, and there are more of them than of other parts' pairs."""
    start_seconds: PositiveFloat


class TrainingSuiteSettings(SuiteSettings):
    """What the training suite measures."""

    peer_python: str | None
    """The interpreter of an environment that has TRL; null for this one."""
    model: ModelConfig
    training: TrainingConfig
    sharding: ShardingConfig
    planning: PlanningConfig
    """Whose lengths are balanced, and on what model."""
    trainers: TrainersConfig
    attention: AttentionConfig
    cross_entropy: CrossEntropyConfig
    balance: BalanceConfig
    launchers: LaunchersConfig
