"""What a model behind a chat endpoint is to the rest of the house.

It is asked in messages and answers in text; tokens, caches and forced continuations are out of
reach, so every reply says which wishes of its policy were not enforced.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from s1ray.generation.budget import BudgetPolicy
from s1ray.generation.engine import Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A conversation to be answered under a policy."""

    messages: tuple[Message, ...]
    policy: BudgetPolicy
    sampling: Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """What came back, and what it took."""

    thinking: str
    """Empty where the endpoint keeps it to itself."""
    answer: str
    is_complete: bool
    """Whether the model ended by itself, rather than at a limit."""
    num_prompt_tokens: int
    num_completion_tokens: int
    """Thinking and answer, as the endpoint counts and charges them."""
    num_thinking_tokens: int | None
    """As the endpoint counts; None where it does not say."""
    unenforced: tuple[str, ...]
    """Fields of policy and sampling that the endpoint was not or could not be asked for."""
    num_tries: int
    cost_usd: float | None
    """None where the price is unknown."""
    seconds: float
    """Of the try that succeeded."""


@runtime_checkable
class ChatEngine(Protocol):
    """Anything that answers conversations, many at a time."""

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Answer one conversation.

        Raises:
            ValueError: The endpoint refuses the request or the key.
            RuntimeError: The endpoint failed too often, or the money is spent.
        """
        ...

    def counters(self) -> Mapping[str, float]:
        """Return the work done so far: requests, tries, tokens, cost."""
        ...

    async def close(self) -> None:
        """Release connections. Pending requests fail."""
        ...
