"""The settings of the forcing suite: how long samples think, on what, how often it is measured."""

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from s1ray.config.base import Section
from s1ray.config.generation import TransformersEngineConfig, VllmEngineConfig
from s1ray.config.model import ModelConfig
from s1ray.config.suites.job import SuiteSettings


class ThinkingLengthsConfig(Section):
    """How long thinking is before an end: lognormal, cut at the longest, then scaled down."""

    median_tokens: PositiveFloat
    sigma: PositiveFloat
    """Of the logarithm."""
    longest_tokens: PositiveFloat
    divisor: PositiveFloat
    """Lengths are divided by it, so that two cores can draw them."""


class RoundsConfig(Section):
    """One state machine per sample against s1's batch-wide rounds."""

    lengths: dict[str, ThinkingLengthsConfig]
    num_samples: PositiveInt
    num_waits: tuple[NonNegativeInt, ...]
    timed_waits: NonNegativeInt
    """Steps are counted for all of ``num_waits``, seconds measured for this one."""
    answer_tokens: PositiveInt


class PrefixConfig(Section):
    """Contexts that grow by a wait, with vLLM's prefix cache and without."""

    num_samples: PositiveInt
    num_waits: PositiveInt
    prompt_words: PositiveInt
    """Of every prompt; a context must be longer than a block of the cache (128 tokens on CPU)."""
    segment_tokens: PositiveInt
    """Of thinking before each end."""


class SweepConfig(Section):
    """The paper's grid of budgets, scaled down: each budget alone against shared chains."""

    lengths: ThinkingLengthsConfig
    num_samples: PositiveInt
    caps: tuple[PositiveInt | None, ...]
    num_waits: tuple[PositiveInt, ...]
    """Further policies of the grid that is measured second."""
    continuation_share: PositiveFloat
    """How long thinking after a wait is, as a share of a first thinking drawn anew."""
    answer_tokens: PositiveInt
    forced_answer_tokens: PositiveInt


class BatchesConfig(Section):
    """Samples of mixed lengths through our engine, static batches and continuous batching."""

    lengths: ThinkingLengthsConfig
    num_samples: PositiveInt
    batch_size: PositiveInt
    block_tokens: PositiveInt
    """Of a block of transformers' paged cache."""
    num_blocks: PositiveInt


class ServerLoadConfig(Section):
    """Requests whose continuation is remembered, against an echo under bare uvicorn."""

    num_clients: tuple[PositiveInt, ...]
    requests_per_client: PositiveInt
    latency_requests: PositiveInt
    """Of a single client, one after the other."""
    max_thinking_tokens: PositiveInt
    max_answer_tokens: PositiveInt
    start_seconds: PositiveFloat
    """How long the server may take to come up."""


class ForcingSettings(SuiteSettings):
    """Everything the forcing suite measures."""

    seed: int
    context_tokens: PositiveInt
    vllm_python: Annotated[str, Field(min_length=1)]
    """The interpreter that can import vLLM; ``make test-vllm`` builds this one."""
    vllm_kv_cache_gib: PositiveInt
    model: ModelConfig
    engine: TransformersEngineConfig
    vllm: VllmEngineConfig
    rounds: RoundsConfig
    prefix: PrefixConfig
    sweep: SweepConfig
    batches: BatchesConfig
    server: ServerLoadConfig
