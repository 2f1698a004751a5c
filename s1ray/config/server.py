"""The chat server: where it listens, what clients may ask for, and how many replicas answer."""

import ipaddress
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


class RequestBudgetConfig(Section):
    """The budget of a request that does not say."""

    max_thinking_tokens: PositiveInt | None
    """Null leaves the end to the model, within the limit and the context window."""
    num_waits: NonNegativeInt
    min_thinking_tokens: NonNegativeInt
    wait_strings: Annotated[tuple[str, ...], Field(min_length=1)]
    answer_prefix: str
    max_answer_tokens: PositiveInt
    answer_share: Annotated[float, Field(gt=0, lt=1)]
    """Of max_completion_tokens, where a request limits thinking and answer together alone."""


class ChatLimitsConfig(Section):
    """The most that a request may ask for."""

    smallest_cap: NonNegativeInt
    """The least max_thinking_tokens; 0 lets clients ask for no thinking."""
    max_thinking_tokens: PositiveInt | None
    """Null for the context window. It caps requests without a budget as well."""
    num_waits: NonNegativeInt
    max_answer_tokens: PositiveInt
    num_choices: PositiveInt
    """Completions of one request (``n``)."""
    body_bytes: PositiveInt


class ServerConfig(Section):
    """An OpenAI-compatible endpoint on Ray Serve; what a replica holds is in ``serving``."""

    host: str
    """Where it listens; anything but loopback needs the key."""
    port: Annotated[int, Field(ge=1, le=65535)]
    api_key_variable: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """The environment variable with the bearer key, on every node; where it is set, the key is
    asked for on loopback as well."""
    model_name: Annotated[str, Field(min_length=1)]
    adapters: dict[Annotated[str, Field(min_length=1)], str]
    """PEFT adapters' directories by the model name that selects them."""
    budget: RequestBudgetConfig
    limits: ChatLimitsConfig
    max_requests: PositiveInt
    """Requests that a replica works on at once; a further one is sent away with 429."""
    spare_requests: PositiveInt
    """Places beside those, so that a full replica can still send away and report its health."""
    max_queued_requests: PositiveInt
    """Requests that wait for a replica at the proxy before it answers 429 by itself."""
    retry_after_seconds: PositiveInt
    min_replicas: PositiveInt
    max_replicas: PositiveInt
    target_requests: PositiveFloat
    """Requests per replica that autoscaling keeps to."""
    upscale_delay_seconds: NonNegativeFloat
    downscale_delay_seconds: NonNegativeFloat
    unhealthy_failures: PositiveInt
    """Requests in a row that the engine failed at before a replica is replaced."""
    health_check_seconds: PositiveFloat
    graceful_shutdown_seconds: PositiveFloat
    """How long requests under way may take when the server stops."""

    @property
    def cap(self) -> int | None:
        """Of the thinking of a request that does not say: the default, or else the limit."""
        default = self.budget.max_thinking_tokens
        return self.limits.max_thinking_tokens if default is None else default

    @property
    def is_loopback(self) -> bool:
        """Whether nobody but this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @model_validator(mode="after")
    def _check_budget(self) -> Self:
        limit = self.limits.max_thinking_tokens
        beyond = {
            name: limit is not None and (value or 0) > limit
            for name, value in (
                ("max_thinking_tokens", self.budget.max_thinking_tokens),
                ("min_thinking_tokens", self.budget.min_thinking_tokens),
            )
        } | {
            "num_waits": self.budget.num_waits > self.limits.num_waits,
            "max_answer_tokens": self.budget.max_answer_tokens > self.limits.max_answer_tokens,
        }
        wrong = [name for name, is_beyond in beyond.items() if is_beyond]
        if wrong:
            raise ValueError(
                f"server.budget exceeds server.limits in {', '.join(wrong)}; raise the limits or "
                "lower the budget."
            )
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"max_replicas={self.max_replicas} is below min_replicas={self.min_replicas}; "
                "give it at least that."
            )
        if self.model_name in self.adapters:
            raise ValueError(
                f"the adapter {self.model_name!r} has the name of the model without an adapter; "
                "choose another, or another server.model_name."
            )
        return self
