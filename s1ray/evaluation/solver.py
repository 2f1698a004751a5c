"""A group of samples in, its completions out: the prompt, every policy's chain, one engine.

It knows chat format, policies and the engine Protocol; it does not know where it runs, who grades
or what is stored.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from s1ray.chat_format import ThinkingTokens, Tokenizer, encode, render_prompt
from s1ray.config.generation import SamplingConfig
from s1ray.evaluation.samples import SampleGroup
from s1ray.generation.budget import BudgetPolicy
from s1ray.generation.engine import Engine, Sampling
from s1ray.generation.forcing import complete, force_budget
from s1ray.records import Completion


@dataclass(frozen=True, slots=True, kw_only=True)
class Solver:
    """Solves groups on one engine; many at a time share its batches."""

    engine: Engine
    tokenizer: Tokenizer
    tokens: ThinkingTokens
    system_prompt: str | None
    policies: Mapping[str, BudgetPolicy]
    """By name."""
    sampling: SamplingConfig

    async def solve(self, group: SampleGroup) -> AsyncIterator[tuple[str, Completion]]:
        """Yield (policy name, completion) for each of the group's policies as they are done.

        Raises:
            ValueError: The question does not fit the context window, of one policy at least; all
                others were yielded before.
        """
        tasks = [
            asyncio.create_task(self._complete(self.policies[name], group))
            for name in group.policies
        ]
        error: Exception | None = None
        try:
            for done in asyncio.as_completed(tasks):
                try:
                    solved = await done
                # It is one policy's: a longer instruction may be too long, and the others fit.
                except Exception as caught:
                    error = error or caught
                else:
                    yield solved
            if error is not None:
                raise error
        finally:
            for task in tasks:
                task.cancel()

    async def _complete(self, policy: BudgetPolicy, group: SampleGroup) -> tuple[str, Completion]:
        prompt = render_prompt(
            self.tokenizer,
            group.question.text + policy.instruction,
            system_prompt=self.system_prompt,
        )
        chain = force_budget(
            encode(self.tokenizer, prompt),
            policy=policy,
            tokens=self.tokens,
            tokenizer=self.tokenizer,
            context_tokens=self.engine.context_tokens,
            vocabulary_size=self.engine.vocabulary_size,
            sampling=Sampling(
                temperature=self.sampling.temperature,
                top_p=self.sampling.top_p,
                top_k=self.sampling.top_k,
                seed=group.seed,
            ),
        )
        return policy.name, await complete(self.engine, chain)
