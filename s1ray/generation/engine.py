"""What an inference engine is to the rest of the house.

An engine continues token ids; it knows nothing of thinking, budgets, text or questions. What it
caches between requests (prefixes, above all) is its own affair and never changes a result.
"""

from collections.abc import Mapping
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
class Request:
    """A context to be continued."""

    token_ids: tuple[int, ...]
    """The whole context, prompt included."""
    max_tokens: int
    stop_sequences: tuple[tuple[int, ...], ...]
    """Generation ends when the generated tokens end with one of these."""
    sampling: Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """How a context was continued."""

    token_ids: tuple[int, ...]
    """New tokens only, the matched stop sequence included at the end."""
    stop_sequence: tuple[int, ...] | None
    """The stop sequence that ended it; None at ``max_tokens``."""


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

    async def generate(self, request: Request) -> Generation:
        """Continue one context. Concurrent calls share batches.

        Raises:
            ValueError: The request does not fit the context window or holds ids out of vocabulary.
        """
        ...

    def counters(self) -> Mapping[str, int]:
        """Work done so far: ``forward_passes``, ``prefill_tokens``, ``decoded_tokens``, …."""
        ...

    async def close(self) -> None:
        """Release the model. Pending requests are cancelled."""
        ...
