"""A chat engine on any OpenAI-compatible endpoint: o1, Gemini, DeepSeek R1 and the like.

It knows how a policy is put into a request and a reply read, and what it costs. It does not know
how requests travel (``transport``). The key comes from the environment and is shown nowhere.
"""

import os
from collections.abc import Mapping
from typing import Any

from s1ray.chat_format import split_thinking
from s1ray.config.generation import EndpointConfig
from s1ray.generation.budget import BudgetPolicy
from s1ray.generation.chat.chat_engine import ChatReply, ChatRequest
from s1ray.generation.chat.transport import Response, Transport
from s1ray.generation.engine import Sampling

TOKENS_PER_PRICE = 1_000_000


class OpenAIEngine:
    """Answers conversations through ``/chat/completions``."""

    def __init__(self, config: EndpointConfig, *, spent_usd: float = 0.0) -> None:
        """Read the key and open the way.

        Args:
            config: Of the endpoint.
            spent_usd: What earlier jobs spent of ``max_cost_usd``.

        Raises:
            ValueError: The environment variable of the key is not set.
        """
        self._config = config
        self._transport = Transport(
            config.base_url,
            headers=read_key(config.api_key_variable),
            max_concurrency=config.max_concurrency,
            requests_per_minute=config.requests_per_minute,
            max_tries=config.max_tries,
            backoff_seconds=config.backoff_seconds,
            max_backoff_seconds=config.max_backoff_seconds,
            timeout_seconds=config.timeout_seconds,
        )
        self._spent_usd = spent_usd
        self._counts: dict[str, float] = {
            "requests": 0,
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "cost_usd": 0.0,
        }

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Answer one conversation.

        Raises:
            ValueError: The endpoint refuses the request or the key.
            RuntimeError: The endpoint failed too often, or ``max_cost_usd`` is spent.
        """
        limit = self._config.max_cost_usd
        spent = self._spent_usd + self._counts["cost_usd"]
        if limit is not None and spent >= limit:
            raise RuntimeError(
                f"{spent:.2f} USD are spent and endpoint.max_cost_usd={limit}. Raise it to go on; "
                "what was answered is kept."
            )
        body = build_body(request, config=self._config)
        response = await self._transport.post("/chat/completions", body)
        unenforced = list_unenforced(request.policy, request.sampling, config=self._config)
        reply = _read_reply(response, config=self._config, unenforced=unenforced)
        self._counts["requests"] += 1
        self._counts["prompt_tokens"] += reply.num_prompt_tokens
        self._counts["completion_tokens"] += reply.num_completion_tokens
        self._counts["cost_usd"] += reply.cost_usd or 0.0
        return reply

    def counters(self) -> Mapping[str, float]:
        """Return requests answered, tries, tokens and US dollars so far."""
        return {**self._counts, "tries": self._transport.num_tries}

    async def close(self) -> None:
        """Begin no further request."""
        self._transport.close()


def build_body(request: ChatRequest, *, config: EndpointConfig) -> dict[str, Any]:
    """Return what is posted for a request."""
    body: dict[str, Any] = {
        **config.extra,
        "model": config.model,
        "messages": [{"role": turn.role, "content": turn.content} for turn in request.messages],
        config.limit_field: config.max_completion_tokens,
    }
    if config.sends_sampling:
        body |= {
            "temperature": request.sampling.temperature,
            "top_p": request.sampling.top_p,
            "seed": request.sampling.seed,
        }
    if config.budget_field is not None and request.policy.max_thinking_tokens is not None:
        _set_field(body, config.budget_field, request.policy.max_thinking_tokens)
    if config.waits_field is not None and request.policy.num_waits:
        _set_field(body, config.waits_field, request.policy.num_waits)
    return body


def list_unenforced(
    policy: BudgetPolicy, sampling: Sampling, *, config: EndpointConfig
) -> tuple[str, ...]:
    """Return the wishes that a request to this endpoint cannot carry."""
    wishes = {
        "max_thinking_tokens": policy.max_thinking_tokens is not None and not config.budget_field,
        "num_waits": policy.num_waits > 0 and not config.waits_field,
        "min_thinking_tokens": policy.min_thinking_tokens > 0,
        "is_step_limited": policy.is_step_limited,
        "max_tries": policy.max_tries > 1,
        "sampling": not config.sends_sampling,
        "top_k": sampling.top_k > 0,
    }
    return tuple(name for name, is_unmet in wishes.items() if is_unmet)


def read_key(variable: str | None) -> dict[str, str]:
    """Return the headers that carry the key of an environment variable; none for None.

    Raises:
        ValueError: The variable is not set.
    """
    if variable is None:
        return {}
    key = os.environ.get(variable, "")
    if not key:
        raise ValueError(
            f"the environment variable {variable} is not set; put the endpoint's key there, or set "
            "endpoint.api_key_variable=null where none is asked for."
        )
    return {"Authorization": f"Bearer {key}"}


def _set_field(body: dict[str, Any], path: str, value: int) -> None:
    *parents, last = path.split(".")
    level = body
    for name in parents:
        level[name] = dict(level.get(name, {}))
        level = level[name]
    level[last] = value


def _read_reply(
    response: Response, *, config: EndpointConfig, unenforced: tuple[str, ...]
) -> ChatReply:
    try:
        choice = response.content["choices"][0]
        message = choice["message"]
        usage = response.content.get("usage") or {}
        thinking, answer = _split_message(message)
        details = usage.get("completion_tokens_details") or {}
        num_prompt, num_completion = usage["prompt_tokens"], usage["completion_tokens"]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise RuntimeError(
            f"{config.base_url} answered in an unknown form: {_describe_fault(error)} among "
            f"{', '.join(sorted(response.content))}. It must be a chat completion with its usage, "
            "prompt_tokens and completion_tokens."
        ) from error
    return ChatReply(
        thinking=thinking,
        answer=answer,
        is_complete=choice.get("finish_reason") == "stop",
        num_prompt_tokens=num_prompt,
        num_completion_tokens=num_completion,
        num_thinking_tokens=details.get("reasoning_tokens"),
        unenforced=unenforced,
        num_tries=response.num_tries,
        cost_usd=_price(config, num_prompt=num_prompt, num_completion=num_completion),
        seconds=response.seconds,
    )


def _describe_fault(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else "a part of another type"


def _split_message(message: Mapping[str, Any]) -> tuple[str, str]:
    """Return thinking and answer, wherever the endpoint puts the thinking."""
    answer = message.get("content") or ""
    thinking = message.get("reasoning_content") or message.get("reasoning") or ""
    return (thinking, answer) if thinking else split_thinking(answer)


def _price(config: EndpointConfig, *, num_prompt: int, num_completion: int) -> float | None:
    prompt_price = config.usd_per_million_prompt_tokens
    completion_price = config.usd_per_million_completion_tokens
    if prompt_price is None or completion_price is None:
        return None
    total = num_prompt * prompt_price + num_completion * completion_price
    return total / TOKENS_PER_PRICE
