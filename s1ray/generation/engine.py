"""What an inference engine is to the rest of the house.

An engine continues token ids; it knows nothing of thinking, budgets, text or questions. What it
caches between requests (prefixes, above all) is its own affair and never changes a result.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is drawn."""

    temperature: float
    """0 for greedy."""
    top_p: float
    top_k: int
    """0 for the whole vocabulary."""
    seed: int
    """Of this sample. The noise at a position depends on the seed and the position alone, so that
    a result depends neither on batch-mates nor on a restart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Where a completion's parts stand in a context, for whoever shows them as they come."""

    thinking: slice
    answer_start: int | None
    """Where the answer begins; None while thinking goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A context to be continued."""

    token_ids: tuple[int, ...]
    """The whole context, prompt included."""
    min_tokens: int
    """Generated tokens that stand before a stop sequence at least: a token that would complete one
    earlier cannot be drawn."""
    max_tokens: int
    stop_sequences: tuple[tuple[int, ...], ...]
    """Generation ends when the generated tokens end with one of these."""
    sampling: Sampling
    parts: Parts | None = None
    """Of the context, where somebody asked for them; engines do not read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """How a context was continued."""

    token_ids: tuple[int, ...]
    """New tokens only, the matched stop sequence included at the end."""
    stop_sequence: tuple[int, ...] | None
    """The stop sequence that ended it; None at ``max_tokens``."""


Listener = Callable[[tuple[int, ...]], None]
"""Hears a continuation's new tokens as they come: in order, each once, on the caller's loop."""


def find_stop(
    token_ids: Sequence[int], stop_sequences: Sequence[tuple[int, ...]]
) -> tuple[int, ...] | None:
    """Return the first of the stop sequences that the generated tokens end with, or None."""
    for stop in stop_sequences:
        if tuple(token_ids[-len(stop) :]) == stop:
            return stop
    return None


def list_forbidden(request: Request, generated: Sequence[int]) -> frozenset[int]:
    """Return the tokens that would complete a stop sequence before ``min_tokens``."""
    forbidden = set()
    for stop in request.stop_sequences:
        body = stop[:-1]
        is_begun = not body or tuple(generated[-len(body) :]) == body
        if is_begun and len(generated) - len(body) < request.min_tokens:
            forbidden.add(stop[-1])
    return frozenset(forbidden)


def check_request(request: Request, *, context_tokens: int, vocabulary_size: int) -> None:
    """Refuse a request that no engine of this window and vocabulary can serve.

    Raises:
        ValueError: An empty context, no tokens asked for, a context that does not fit with its
            continuation, or ids out of vocabulary.
    """
    num_tokens = len(request.token_ids)
    if num_tokens == 0 or () in request.stop_sequences:
        raise ValueError("the context or a stop sequence is empty; give each at least one token.")
    if not 0 <= request.min_tokens <= request.max_tokens or request.max_tokens < 1:
        raise ValueError(
            f"min_tokens={request.min_tokens}, max_tokens={request.max_tokens}; "
            "legal: 0 <= min_tokens <= max_tokens and max_tokens >= 1."
        )
    if num_tokens + request.max_tokens > context_tokens:
        raise ValueError(
            f"a context of {num_tokens} tokens and max_tokens={request.max_tokens} exceed the "
            f"engine's window of {context_tokens}. Shorten the prompt or the budget, or raise "
            "model.context_tokens."
        )
    largest, smallest = max(request.token_ids), min(request.token_ids)
    if smallest < 0 or largest >= vocabulary_size:
        wrong = smallest if smallest < 0 else largest
        raise ValueError(
            f"token id {wrong} is out of vocabulary; legal ids are 0 to {vocabulary_size - 1}. "
            "The tokenizer and the model do not belong together."
        )


@runtime_checkable
class Engine(Protocol):
    """Anything that continues contexts, many at a time."""

    @property
    def context_tokens(self) -> int:
        """The longest context plus continuation it can hold."""
        ...

    @property
    def vocabulary_size(self) -> int:
        """Ids at or above this are refused."""
        ...

    async def generate(self, request: Request, *, listener: Listener | None = None) -> Generation:
        """Continue one context. Concurrent calls share batches; a cancelled one stops its own.

        Raises:
            ValueError: The request does not fit the context window or holds ids out of vocabulary.
        """
        ...

    def counters(self) -> Mapping[str, int]:
        """Return the work done so far: ``forward_passes``, ``prefill_tokens``, …."""
        ...

    async def close(self) -> None:
        """Release the model. Pending requests are cancelled."""
        ...
