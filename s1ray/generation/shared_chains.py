"""An engine that remembers: what one budget generated, another one reads.

With greedy decoding, or noise that depends on seed and position alone, the next token is a
function of the context and the sampling. So thinking under a small budget is a prefix of thinking
under a larger one, "wait 2" begins where "wait 1" ended, and a sweep generates its longest chain
once. It knows requests and what they were continued with; it does not know budgets or policies:
those meet here because they ask for continuations of the same contexts.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from s1ray.generation.engine import (
    Engine,
    Generation,
    Listener,
    Request,
    Sampling,
    check_request,
    find_stop,
)


@dataclass(frozen=True, slots=True)
class _Key:
    """What a continuation depends on."""

    token_ids: tuple[int, ...]
    sampling: Sampling
    min_tokens: int
    held_back: tuple[tuple[int, ...], ...]
    """The stop sequences that ``min_tokens`` holds back; none where it is 0."""


@dataclass(slots=True)
class _Continuation:
    """The tokens known to follow a context."""

    known: list[int] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    num_users: int = 0


class SharedChains:
    """Serves a request from what is known of its continuation and generates only the rest.

    Requests for one continuation take turns, so that no token is generated twice; requests for
    others run beside them. It belongs to one event loop.
    """

    def __init__(
        self, engine: Engine, *, remembered_tokens: int, is_noise_positional: bool
    ) -> None:
        """Wrap an engine.

        Args:
            engine: Generates what is not known.
            is_noise_positional: Whether its noise depends on (seed, position) alone; if not, only
                greedy requests share.
            remembered_tokens: Contexts and continuations kept, in tokens; those used longest ago
                are forgotten first, those in use never.
        """
        self._engine = engine
        self._remembered_tokens = remembered_tokens
        self._is_noise_positional = is_noise_positional
        self._continuations: OrderedDict[_Key, _Continuation] = OrderedDict()
        self._num_tokens = 0
        self._shared_tokens = 0

    @property
    def context_tokens(self) -> int:
        """The longest context plus continuation it can hold."""
        return self._engine.context_tokens

    @property
    def vocabulary_size(self) -> int:
        """Ids at or above this are refused."""
        return self._engine.vocabulary_size

    async def generate(self, request: Request, *, listener: Listener | None = None) -> Generation:
        """Continue one context, as the engine would.

        Raises:
            ValueError: As the engine.
        """
        check_request(
            request, context_tokens=self.context_tokens, vocabulary_size=self.vocabulary_size
        )
        if request.sampling.temperature > 0 and not self._is_noise_positional:
            return await self._engine.generate(request, listener=listener)
        key = _Key(
            request.token_ids,
            _forget_seed(request.sampling),
            request.min_tokens,
            request.stop_sequences if request.min_tokens else (),
        )
        continuation = self._open(key)
        continuation.num_users += 1
        try:
            async with continuation.lock:
                num_known = len(continuation.known)
                generation = _read(continuation.known, request)
                if generation is None:
                    await self._extend(continuation, request, listener=listener)
                    generation = _read(continuation.known, request)
                elif listener is not None:
                    listener(generation.token_ids)
                assert generation is not None
                self._shared_tokens += min(num_known, len(generation.token_ids))
                return generation
        finally:
            continuation.num_users -= 1
            self._forget()

    def counters(self) -> Mapping[str, int]:
        """Return the engine's counters and ``shared_tokens``, those it need not generate."""
        return {**self._engine.counters(), "shared_tokens": self._shared_tokens}

    async def close(self) -> None:
        """Close the engine."""
        self._continuations.clear()
        await self._engine.close()

    def _open(self, key: _Key) -> _Continuation:
        if key not in self._continuations:
            self._continuations[key] = _Continuation()
            self._num_tokens += len(key.token_ids)
        self._continuations.move_to_end(key)
        return self._continuations[key]

    async def _extend(
        self, continuation: _Continuation, request: Request, *, listener: Listener | None
    ) -> None:
        """Generate what is missing after the known tokens."""
        # A stop sequence may begin in the known part: go back by all of it but one token.
        overlap = max(map(len, request.stop_sequences), default=1) - 1
        num_kept = max(0, len(continuation.known) - overlap)
        # What is held back may begin in the part that is kept, where the engine does not see it.
        if overlap and request.min_tokens and num_kept < request.min_tokens + overlap:
            num_kept = 0
        kept = tuple(continuation.known[:num_kept])
        rest = replace(
            request,
            token_ids=(*request.token_ids, *kept),
            min_tokens=max(0, request.min_tokens - num_kept),
            max_tokens=request.max_tokens - num_kept,
        )
        if listener is not None and kept:
            listener(kept)
        generation = await self._engine.generate(rest, listener=listener)
        before = len(continuation.known)
        continuation.known[num_kept:] = generation.token_ids
        self._num_tokens += len(continuation.known) - before

    def _forget(self) -> None:
        excess = self._num_tokens - self._remembered_tokens
        if excess <= 0:
            return
        for key, continuation in list(self._continuations.items()):
            if excess > 0 and continuation.num_users == 0:
                num_tokens = len(key.token_ids) + len(continuation.known)
                del self._continuations[key]
                self._num_tokens -= num_tokens
                excess -= num_tokens


def _forget_seed(sampling: Sampling) -> Sampling:
    """Return what the next token depends on: greedy decoding draws nothing."""
    return replace(sampling, seed=0) if sampling.temperature == 0 else sampling


def _read(known: list[int], request: Request) -> Generation | None:
    """Return what the known tokens make of a request; None where they end too early."""
    longest = max(map(len, request.stop_sequences), default=0)
    for end in range(1, min(len(known), request.max_tokens) + 1):
        stop = find_stop(known[max(0, end - longest) : end], request.stop_sequences)
        if stop is not None:
            return Generation(token_ids=tuple(known[:end]), stop_sequence=stop)
    if len(known) < request.max_tokens:
        return None
    return Generation(token_ids=tuple(known[: request.max_tokens]), stop_sequence=None)
