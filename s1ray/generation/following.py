"""A chain followed as it goes: what it has written so far, as soon as that is certain.

It drives a chain as ``forcing.complete`` does and tells token ids apart by the part they belong
to. It knows no policy and no text; stop sequences, and tokens past a cap, are never told.
"""

from collections.abc import Callable
from enum import StrEnum

from s1ray.generation.engine import Engine, Request
from s1ray.generation.forcing import Chain
from s1ray.records import Completion


class Part(StrEnum):
    """Of a completion."""

    THINKING = "thinking"
    ANSWER = "answer"


Hear = Callable[[Part, tuple[int, ...]], None]
"""Hears the ids of each part in order, each once; thinking ends before the answer begins."""


async def follow(engine: Engine, chain: Chain, *, hear: Hear) -> Completion:
    """Drive a chain to its end and tell what it writes on the way.

    Only for policies that never take thinking back: one try, ``accounting: total``.
    """
    teller = _Teller(hear)
    try:
        request = next(chain)
        while True:
            teller.begin(request)
            request = chain.send(await engine.generate(request, listener=teller.listen))
    except StopIteration as end:
        completion: Completion = end.value
        teller.end(completion)
        return completion
    finally:
        chain.close()


class _Teller:
    """Tells a request's new tokens once no stop sequence can claim them."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._part = Part.THINKING
        self._num_told = {Part.THINKING: 0, Part.ANSWER: 0}
        self._num_held = 0
        self._held: list[int] = []

    def begin(self, request: Request) -> None:
        """Tell what a new request's context settles, and get ready for its continuation."""
        parts = request.parts
        assert parts is not None
        self._tell_rest(Part.THINKING, request.token_ids[parts.thinking])
        if parts.answer_start is not None:
            self._part = Part.ANSWER
            self._tell_rest(Part.ANSWER, request.token_ids[parts.answer_start :])
        self._num_held = max(map(len, request.stop_sequences))
        self._held = []

    def listen(self, token_ids: tuple[int, ...]) -> None:
        """Take new tokens; the last ones are held back, as long as a stop sequence is."""
        self._held.extend(token_ids)
        certain = self._held[: -self._num_held]
        if certain:
            del self._held[: len(certain)]
            self._tell(self._part, tuple(certain))

    def end(self, completion: Completion) -> None:
        """Tell what is left."""
        self._tell_rest(Part.THINKING, completion.thinking_ids)
        self._tell_rest(Part.ANSWER, completion.answer_ids)

    def _tell_rest(self, part: Part, token_ids: tuple[int, ...]) -> None:
        if len(token_ids) > self._num_told[part]:
            self._tell(part, token_ids[self._num_told[part] :])

    def _tell(self, part: Part, token_ids: tuple[int, ...]) -> None:
        self._num_told[part] += len(token_ids)
        self._hear(part, token_ids)
