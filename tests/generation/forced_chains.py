"""One chain under a policy on a scripted engine, and what the model saw before its answer."""

import asyncio

from s1ray.chat_format import decode
from s1ray.config.generation import Accounting
from s1ray.generation.budget import BudgetPolicy
from s1ray.generation.engine import Sampling
from s1ray.generation.forcing import complete, force_budget
from s1ray.records import Completion
from tests.generation.scripted_engines import (
    GREEDY,
    ScriptedEngine,
    ToyTokenizer,
    ids_of,
    toy_tokens,
)

TOKENIZER = ToyTokenizer()
PROMPT = ids_of("abcb")
NATURAL = BudgetPolicy(
    name="natural",
    max_thinking_tokens=None,
    num_waits=0,
    wait_strings=("Wait",),
    min_thinking_tokens=0,
    answer_prefix="Final Answer:",
    max_answer_tokens=8,
    accounting=Accounting.TOTAL,
)


def run(
    engine: ScriptedEngine,
    policy: BudgetPolicy,
    preset: str = "s1",
    sampling: Sampling = GREEDY,
) -> Completion:
    chain = force_budget(
        PROMPT,
        policy=policy,
        tokens=toy_tokens(preset),
        tokenizer=TOKENIZER,
        context_tokens=engine.context_tokens,
        vocabulary_size=engine.vocabulary_size,
        sampling=sampling,
    )
    return asyncio.run(complete(engine, chain))


def answer_context(engine: ScriptedEngine) -> str:
    return decode(TOKENIZER, engine.requests[-1].token_ids[len(PROMPT) :])
