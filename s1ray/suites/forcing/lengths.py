"""How long samples think: lengths spread as real traces are, and an engine that keeps to them.

A small model does not think as long as a large one. So the tokens are the model's own, and where
thinking ends is given; what is compared sees the same ends on both sides.
"""

import math
import random
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from s1ray.config.suites.forcing import ThinkingLengthsConfig
from s1ray.generation.engine import Engine, Generation, Listener, Request


def draw_lengths(config: ThinkingLengthsConfig, *, count: int, seed: int) -> list[int]:
    """Return lengths of thinking in tokens, scaled down; the same for the same seed."""
    generator = random.Random(seed)
    mean = math.log(config.median_tokens)
    drawn = [generator.lognormvariate(mean, config.sigma) for _ in range(count)]
    return [max(1, round(min(n, config.longest_tokens) / config.divisor)) for n in drawn]


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Where one sample's thinking ends, and how long its answers are."""

    segments: Sequence[int]
    """Tokens the model writes before each end; a wait stands between two."""
    answer_tokens: int
    forced_answer_tokens: int

    def count_left(self, num_thinking: int, *, num_wait_tokens: int) -> int:
        """Return the tokens until the next end, from the thinking so far."""
        lengths = [
            length + (num_wait_tokens if number else 0)
            for number, length in enumerate(self.segments)
        ]
        ends = list(accumulate(lengths))
        return ends[min(bisect_right(ends, num_thinking), len(ends) - 1)] - num_thinking


class ScriptedEnds:
    """An engine that continues as another does and ends where a sample's script says.

    The sample is the request's seed, so its sampling must be greedy. An end is written as the first
    stop sequence, beside the engine's own tokens; the context alone decides where it is.
    """

    def __init__(
        self, engine: Engine, *, scripts: Mapping[int, Script], num_wait_tokens: int
    ) -> None:
        self._engine = engine
        self._scripts = scripts
        self._num_wait_tokens = num_wait_tokens

    @property
    def context_tokens(self) -> int:
        """As the engine's."""
        return self._engine.context_tokens

    @property
    def vocabulary_size(self) -> int:
        """As the engine's."""
        return self._engine.vocabulary_size

    async def generate(self, request: Request, *, listener: Listener | None = None) -> Generation:
        """Continue until the script's end or the request's limit."""
        length = self._count(request)
        is_cut = length >= request.max_tokens
        num_tokens = min(length, request.max_tokens)
        # Within them no end can be drawn, so that the script's is the only one.
        asked = replace(request, min_tokens=num_tokens, max_tokens=num_tokens)
        made = await self._engine.generate(asked, listener=listener)
        if is_cut:
            return made
        stop = request.stop_sequences[0]
        return Generation(token_ids=(*made.token_ids, *stop), stop_sequence=stop)

    def counters(self) -> Mapping[str, int]:
        """Return the engine's counters."""
        return self._engine.counters()

    async def close(self) -> None:
        """Close the engine."""
        await self._engine.close()

    def _count(self, request: Request) -> int:
        script, parts = self._scripts[request.sampling.seed], request.parts
        assert parts is not None
        num_context = len(request.token_ids)
        if parts.answer_start is None:
            num_thinking = num_context - parts.thinking.start
            return script.count_left(num_thinking, num_wait_tokens=self._num_wait_tokens)
        # The context ends where the answer begins, unless a prefix was forced.
        is_forced = num_context > parts.answer_start
        return script.forced_answer_tokens if is_forced else script.answer_tokens
