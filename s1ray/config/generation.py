"""How thinking is budgeted, how tokens are drawn and which engine draws them."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    JsonValue,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from s1ray.config.base import Section


class Accounting(StrEnum):
    """What a thinking budget counts."""

    TOTAL = "total"
    """All of a sample's thinking, injected wait tokens included, fits one budget."""
    S1_HARNESS = "s1_harness"
    """Every continuation after a wait has the whole budget again; the total is cut afterwards
    (simplescaling/s1@77272c6 lm_eval/models/vllm_causallms.py)."""


class ConditionsConfig(Section):
    """Prompts that ask for a length of thinking, in place of forcing it or besides."""

    token_limits: tuple[PositiveInt, ...]
    """Of "Think for up to n tokens.", one policy each."""
    step_limits: tuple[PositiveInt, ...]
    """Of "Think for up to n steps."; needs model.delimiters=s1_steps."""
    classes: dict[str, str]
    """What is appended to the question, by the name of the class, such as short and long."""
    is_forced: bool
    """Whether the limit that the prompt names is also enforced."""

    @model_validator(mode="after")
    def _check_conditions(self) -> Self:
        if not (self.token_limits or self.step_limits or self.classes):
            raise ValueError("no condition is given; set conditions=null for none.")
        if self.is_forced and self.classes:
            raise ValueError(
                f"classes={sorted(self.classes)} name no limit to force; set is_forced=false, or "
                "classes={}."
            )
        return self


class RejectionConfig(Section):
    """Drawing whole chains until the model's own thinking fits a limit."""

    max_thinking_tokens: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """Limits, one policy each."""
    max_tries: Annotated[int, Field(gt=1)]
    """The last try is cut at the limit and answered, so that every sample has an answer."""


class BudgetConfig(Section):
    """A grid of thinking budgets: one policy for every cap and every number of waits."""

    max_thinking_tokens: tuple[NonNegativeInt | None, ...]
    """Caps without waits; 0 is no thinking, null the model's own end."""
    num_waits: tuple[PositiveInt, ...]
    """How many ends of thinking are replaced by a wait string, one policy each."""
    waits_max_thinking_tokens: NonNegativeInt | None
    """The cap of every policy with waits."""
    wait_strings: tuple[str, ...]
    """Used in rotation; an empty string suppresses the end and adds nothing."""
    min_thinking_tokens: NonNegativeInt
    """The model cannot end its thinking before this many tokens."""
    answer_prefix: str
    """Follows the answer opener where a limit ended thinking; empty for none."""
    max_answer_tokens: PositiveInt
    accounting: Accounting
    conditions: ConditionsConfig | None
    rejection: RejectionConfig | None

    @model_validator(mode="after")
    def _check_grid(self) -> Self:
        parts = (self.max_thinking_tokens, self.num_waits, self.conditions, self.rejection)
        if not any(parts):
            raise ValueError(
                "the grid is empty: give max_thinking_tokens or num_waits at least one value "
                "(null in max_thinking_tokens is the model's own end), or set conditions or "
                "rejection."
            )
        for name in ("max_thinking_tokens", "num_waits"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"{name}={list(values)} repeats a value; give each once.")
        if self.num_waits and not self.wait_strings:
            raise ValueError(
                "num_waits asks for waits but wait_strings is empty; use wait_strings=['Wait'], "
                "or [''] to suppress the end and add nothing."
            )
        return self

    @model_validator(mode="after")
    def _check_minimum(self) -> Self:
        asked = [*self.max_thinking_tokens]
        if self.num_waits:
            asked.append(self.waits_max_thinking_tokens)
        if self.rejection:
            asked += self.rejection.max_thinking_tokens
        if self.conditions and self.conditions.is_forced:
            asked += self.conditions.token_limits
        caps = [cap for cap in asked if cap is not None]
        if caps and min(caps) < self.min_thinking_tokens:
            raise ValueError(
                f"min_thinking_tokens={self.min_thinking_tokens} exceeds the cap {min(caps)}. "
                "Lower the minimum or remove that cap."
            )
        return self


class SamplingConfig(Section):
    """How the next token is drawn from the model's distribution."""

    temperature: NonNegativeFloat
    """0 for greedy."""
    top_p: Annotated[float, Field(gt=0, le=1)]
    top_k: NonNegativeInt
    """0 for the whole vocabulary."""


class TransformersEngineConfig(Section):
    """Generation in this process, on CPU or one GPU."""

    kind: Literal["transformers"]
    dtype: Literal["float32", "bfloat16", "float16"]
    device: str
    """Such as ``cpu`` or ``cuda:0``."""
    max_batch_size: PositiveInt
    """Samples decoded in one step."""
    cache_slots: PositiveInt
    """Contexts whose keys and values are kept, those being decoded included."""
    max_prefill_tokens: PositiveInt
    """Prompt tokens computed in one pass."""
    num_threads: PositiveInt | None
    """Threads of one forward pass; null leaves torch's own choice."""
    remembered_tokens: NonNegativeInt
    """How many tokens of finished continuations are remembered, so that a smaller budget reads its
    thinking from a longer chain and "wait 2" begins where "wait 1" ended; 0 for none."""

    @model_validator(mode="after")
    def _check_slots(self) -> Self:
        if self.cache_slots < self.max_batch_size:
            raise ValueError(
                f"cache_slots={self.cache_slots} is below max_batch_size={self.max_batch_size}; "
                "every sample being decoded needs a slot."
            )
        return self


class VllmEngineConfig(Section):
    """Generation through vLLM, on one or several GPUs of a node."""

    kind: Literal["vllm"]
    dtype: Literal["float32", "bfloat16", "float16"]
    tensor_parallel_size: PositiveInt
    """GPUs that share one model."""
    max_batch_size: PositiveInt
    """Samples decoded in one step."""
    memory_utilization: Annotated[float, Field(gt=0, le=1)]
    """Share of each GPU's memory for weights and cache."""
    has_prefix_caching: bool
    """Whether contexts that begin alike are computed once; off only to measure what it saves."""
    is_eager: bool
    """Without compiled graphs: slower, but up in seconds and on any machine."""
    max_lora_rank: PositiveInt
    """Of an adapter."""
    remembered_tokens: NonNegativeInt
    """As the transformers engine's; shared by greedy requests alone."""


EngineConfig = Annotated[TransformersEngineConfig | VllmEngineConfig, Field(discriminator="kind")]
"""The engines that continue token ids, by their kind."""


class EndpointConfig(Section):
    """An OpenAI-compatible endpoint, for models that one cannot run."""

    base_url: Annotated[str, Field(pattern=r"^https?://[^/].*[^/]$")]
    """Up to and with the version, such as ``https://api.openai.com/v1``."""
    model: Annotated[str, Field(min_length=1)]
    """As the endpoint names it."""
    api_key_variable: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None
    """The environment variable that holds the key; null where none is asked for."""
    limit_field: Literal["max_tokens", "max_completion_tokens"]
    """Where the request limits thinking and answer together."""
    max_completion_tokens: PositiveInt
    budget_field: Annotated[str, Field(min_length=1)] | None
    """Where the request limits thinking, dots between levels; null where it cannot."""
    waits_field: Annotated[str, Field(min_length=1)] | None
    """Where the request asks for waits; null where it cannot."""
    sends_sampling: bool
    """Whether temperature, top_p and seed are sent; some reasoning models refuse them."""
    extra: dict[str, JsonValue]
    """Further fields of every request, such as reasoning_effort."""
    max_concurrency: PositiveInt
    requests_per_minute: PositiveFloat | None
    max_tries: PositiveInt
    """Of one request, where the endpoint is busy, failing or cut off."""
    backoff_seconds: PositiveFloat
    """The longest first pause; every further one may be twice as long."""
    max_backoff_seconds: PositiveFloat
    timeout_seconds: PositiveFloat
    """How long a silent endpoint is waited for."""
    usd_per_million_prompt_tokens: NonNegativeFloat | None
    usd_per_million_completion_tokens: NonNegativeFloat | None
    """Null where the price is unknown; then cost is not reported."""
    max_cost_usd: PositiveFloat | None
    """No request is begun once so much is spent; null for no limit."""

    @model_validator(mode="after")
    def _check_prices(self) -> Self:
        prices = (self.usd_per_million_prompt_tokens, self.usd_per_million_completion_tokens)
        if self.max_cost_usd is not None and None in prices:
            raise ValueError(
                f"max_cost_usd={self.max_cost_usd} needs both prices per million tokens; give "
                "them, or set max_cost_usd=null."
            )
        return self
