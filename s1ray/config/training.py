"""The schema of conf/training and conf/sharding: what a fine-tune computes, and on what."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from s1ray.config.base import Section

Share = Annotated[float, Field(ge=0, lt=1)]


class Overflow(StrEnum):
    """What happens to a sample that is longer than the block."""

    TRUNCATE = "truncate"
    DROP = "drop"
    REFUSE = "refuse"


class LossWeighting(StrEnum):
    """What a step's loss is the mean of."""

    SAMPLE = "sample"
    """The mean over samples of each sample's mean token loss: one sample a forward pass, as s1."""
    TOKEN = "token"
    """The mean over all supervised tokens of the step."""


class Conditioning(StrEnum):
    """What the questions of the training text ask thinking to keep to (s1's baselines)."""

    NONE = "none"
    TOKENS = "tokens"
    """The number of tokens of the trace, rounded up to a power of two."""
    STEPS = "steps"
    """Its number of steps, so rounded; every step says how many are left."""


class ActivationCheckpointing(StrEnum):
    """Which activations of a decoder layer are computed again in the backward pass."""

    NONE = "none"
    SELECTIVE = "selective"
    """Keep attention's output and half of the large matrix products, compute the rest again."""
    FULL = "full"


class AttentionBackend(StrEnum):
    """How attention inside the documents of a packed row is computed."""

    VARLEN = "varlen"
    """torch.nn.attention.varlen; CUDA and half precision only."""
    PER_DOCUMENT = "per_document"
    """One scaled_dot_product_attention a document."""
    DENSE = "dense"
    """One call under a block-diagonal causal mask: slow, the oracle of the others."""


class OptimizerConfig(Section):
    """AdamW and its learning rate: linear warm-up, then cosine to zero."""

    learning_rate: Annotated[float, Field(gt=0)]
    warmup_ratio: Share
    """Share of all steps; rounded up to whole steps."""
    beta1: Share
    beta2: Share
    epsilon: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    """Of matrices; vectors (norms, biases) do not decay."""
    max_grad_norm: Annotated[float, Field(gt=0)]
    moments_dtype: Literal["float32", "bfloat16"]


class LoraConfig(Section):
    """Low-rank adapters beside frozen weights."""

    rank: Annotated[int, Field(ge=1)]
    alpha: Annotated[int, Field(ge=1)]
    targets: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of the linear layers inside a decoder layer that get an adapter."""
    base_dtype: Literal["float32", "bfloat16"]
    """Of the frozen weights."""


class TrainingConfig(Section):
    """What the fine-tune computes. All of it is part of a run's identity."""

    seed: int
    num_epochs: Annotated[int, Field(ge=1)] | None
    """The run's length, as one of three: this often every sample,"""
    max_steps: Annotated[int, Field(ge=1)] | None
    """so many optimizer steps,"""
    max_tokens: Annotated[int, Field(ge=1)] | None
    """or steps until so many tokens have been seen. The other two are null."""
    global_batch_size: Annotated[int, Field(ge=1)]
    """Samples an optimizer step; the last step of an epoch may have fewer."""
    max_seq_len: Annotated[int, Field(ge=2)]
    overflow: Overflow
    loss_weighting: LossWeighting
    conditioning: Conditioning
    compute_dtype: Literal["float32", "bfloat16"]
    """Of forward and backward; weights and optimizer keep float32 masters."""
    reduce_dtype: Literal["float32", "bfloat16"]
    """In which gradients are summed over ranks."""
    optimizer: OptimizerConfig
    lora: LoraConfig | None
    """null: every parameter is trained."""

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        lengths = {
            "num_epochs": self.num_epochs,
            "max_steps": self.max_steps,
            "max_tokens": self.max_tokens,
        }
        given = [name for name, value in lengths.items() if value is not None]
        if len(given) != 1:
            raise ValueError(
                f"training has {' and '.join(given) or 'no length'}: give exactly one of "
                "num_epochs, max_steps and max_tokens, and set the others to null."
            )
        return self

    @model_validator(mode="after")
    def _check_base(self) -> Self:
        if self.lora and self.lora.base_dtype == "bfloat16" != self.compute_dtype:
            raise ValueError(
                f"training.lora.base_dtype=bfloat16 needs training.compute_dtype=bfloat16, got "
                f"{self.compute_dtype}. Set one of the two to the other."
            )
        return self


class ShardingConfig(Section):
    """How the fine-tune lies on the hardware. None of it changes what is computed."""

    num_workers: Annotated[int, Field(ge=1)]
    device: Literal["cpu", "cuda"]
    sequence_parallel: Annotated[int, Field(ge=1)]
    """Neighbouring ranks that share each row; must divide num_workers and the model's heads."""
    replicas: Annotated[int, Field(ge=1)]
    """1: the weights are sharded over all ranks; n: n whole copies, each sharded."""
    reshard_after_forward: bool
    activation_checkpointing: ActivationCheckpointing
    attention: AttentionBackend
    micro_batch_tokens: Annotated[int, Field(ge=1)] | None
    """Tokens packed into one forward pass of a group of ranks; null: one sample each."""
    loss_chunk_tokens: Annotated[int, Field(ge=1)]
    """Positions whose logits exist at the same time."""
    cpu_offload: bool
    compile: bool
    """torch.compile on each decoder layer."""

    @model_validator(mode="after")
    def _check_ranks(self) -> Self:
        for name in ("sequence_parallel", "replicas"):
            degree = getattr(self, name)
            if self.num_workers % degree:
                legal = [d for d in range(1, self.num_workers + 1) if self.num_workers % d == 0]
                raise ValueError(
                    f"sharding.{name}={degree} does not divide sharding.num_workers="
                    f"{self.num_workers}. Set it to one of {legal}."
                )
        return self

    @model_validator(mode="after")
    def _check_device(self) -> Self:
        if self.cpu_offload and self.num_workers == 1:
            raise ValueError(
                "sharding.cpu_offload=true needs sharding.num_workers of 2 or more: FSDP moves the "
                "weights, and a single process has none. Set it to false."
            )
        if self.device == "cpu" and self.cpu_offload:
            raise ValueError(
                "sharding.cpu_offload=true needs sharding.device=cuda; on the cpu set it to false."
            )
        if self.device == "cpu" and self.attention is AttentionBackend.VARLEN:
            raise ValueError(
                "sharding.attention=varlen needs sharding.device=cuda; on the cpu set it to "
                "per_document."
            )
        return self
