"""The chains that every part drives: prompts, policies of plain numbers, two ways to drive.

It knows one model's tokenizer and delimiters; engines are handed to it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from s1ray.chat_format import (
    DELIMITERS,
    ThinkingTokens,
    Tokenizer,
    encode,
    read_thinking_tokens,
    render_prompt,
)
from s1ray.config.generation import Accounting
from s1ray.generation.budget import BudgetPolicy
from s1ray.generation.engine import Engine, Sampling
from s1ray.generation.forcing import Chain, complete, force_budget
from s1ray.model_source.model_directory import load_tokenizer
from s1ray.records import Completion

WAIT = "Wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompter:
    """Writes prompts and begins chains on them."""

    tokenizer: Tokenizer
    tokens: ThinkingTokens
    context_tokens: int

    def write_prompts(
        self, count: int, *, first_number: int = 0, num_words: int = 0
    ) -> list[tuple[int, ...]]:
        """Return the ids of different questions, followed by numbers where words are asked for."""
        prompts = []
        for number in range(first_number, first_number + count):
            question = " ".join([f"What is {number} + 7?", *map(str, range(num_words))])
            text = render_prompt(self.tokenizer, question, system_prompt=f"Chat {number}.")
            prompts.append(encode(self.tokenizer, text))
        return prompts

    def count_wait_tokens(self) -> int:
        """Return the tokens of one wait."""
        return len(encode(self.tokenizer, WAIT))

    def begin(
        self,
        prompt: tuple[int, ...],
        *,
        engine: Engine,
        sample: int,
        cap: int | None,
        num_waits: int,
        answer_tokens: int,
    ) -> Chain:
        """Return a chain under a budget; greedy, with the sample as its seed.

        Args:
            prompt: Token ids.
            engine: Continues it.
            sample: Its number.
            cap: Of thinking, in tokens; None for none.
            num_waits: Ends of thinking that are put off.
            answer_tokens: Room for the answer.
        """
        policy = BudgetPolicy(
            name="benchmark",
            max_thinking_tokens=cap,
            num_waits=num_waits,
            wait_strings=(WAIT,),
            min_thinking_tokens=0,
            answer_prefix="Final Answer:",
            max_answer_tokens=answer_tokens,
            accounting=Accounting.TOTAL,
        )
        return force_budget(
            prompt,
            policy=policy,
            tokens=self.tokens,
            tokenizer=self.tokenizer,
            context_tokens=self.context_tokens,
            vocabulary_size=engine.vocabulary_size,
            sampling=Sampling(temperature=0.0, top_p=1.0, top_k=0, seed=sample),
        )


def open_prompter(model_path: Path, *, delimiters: str, context_tokens: int) -> Prompter:
    """Return what writes prompts for a model directory."""
    tokenizer = load_tokenizer(model_path)
    return Prompter(
        tokenizer=tokenizer,
        tokens=read_thinking_tokens(tokenizer, DELIMITERS[delimiters]),
        context_tokens=context_tokens,
    )


async def drive_freely(engine: Engine, chains: Sequence[Chain]) -> list[Completion]:
    """Drive every chain by itself: none waits for another."""
    return list(await asyncio.gather(*(complete(engine, chain) for chain in chains)))


async def drive_in_rounds(engine: Engine, chains: Sequence[Chain]) -> list[Completion]:
    """Drive all chains together, as s1's harness does: a round ends with its longest sample.

    Source: simplescaling/s1@77272c6 lm_eval/models/vllm_causallms.py (one ``LLM.generate`` over the
    whole batch per wait, and one for the answers).
    """
    completions: dict[int, Completion] = {}
    requests = {number: next(chain) for number, chain in enumerate(chains)}
    while requests:
        made = await asyncio.gather(*map(engine.generate, requests.values()))
        for number, generation in zip(list(requests), made, strict=True):
            try:
                requests[number] = chains[number].send(generation)
            except StopIteration as end:
                completions[number] = end.value
                del requests[number]
    return [completions[number] for number in range(len(chains))]


async def time_drive(
    drive: Callable[[Engine, Sequence[Chain]], Awaitable[list[Completion]]],
    engine: Engine,
    chains: Sequence[Chain],
) -> tuple[float, list[Completion]]:
    """Return the seconds that driving takes, and the completions."""
    began = time.perf_counter()
    made = await drive(engine, chains)
    return time.perf_counter() - began, made
