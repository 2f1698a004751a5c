"""transformers' engine on a GPU: the tokens of transformers' own generate, and forced chains."""

import asyncio
import random

import pytest

from s1ray.generation.engine import Generation
from s1ray.generation.forcing import complete, force_budget
from s1ray.records import Completion
from tests.generation.scripted_engines import GREEDY, GRID, PIECES, ToyTokenizer, ids_of, toy_tokens
from tests.generation.tiny_models import VOCABULARY, ask, build_tiny, generate_alone, open_engine

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_requests_together_equal_each_one_alone_on_the_cpu(family: str) -> None:
    draw = random.Random(1)
    contexts = [
        tuple(draw.randrange(VOCABULARY) for _ in range(draw.choice((1, 7, 40, 90, 130))))
        for _ in range(14)
    ]
    model = build_tiny(family)
    expected = [generate_alone(model, context, max_tokens=20) for context in contexts]

    async def work() -> list[Generation]:
        engine = open_engine(model.to("cuda"))
        try:
            return await asyncio.gather(*(engine.generate(ask(each, 20)) for each in contexts))
        finally:
            await engine.close()

    assert [made.token_ids for made in asyncio.run(work())] == expected


def test_forced_chains_are_those_of_the_cpu() -> None:
    def run(device: str) -> list[Completion]:
        model = build_tiny("qwen2", vocab_size=len(PIECES)).to(device)

        async def work() -> list[Completion]:
            engine = open_engine(model)
            chains = [
                force_budget(
                    ids_of("abcb"),
                    policy=policy,
                    tokens=toy_tokens("s1"),
                    tokenizer=ToyTokenizer(),
                    context_tokens=engine.context_tokens,
                    vocabulary_size=len(PIECES),
                    sampling=GREEDY,
                )
                for policy in GRID
            ]
            try:
                return await asyncio.gather(*(complete(engine, chain) for chain in chains))
            finally:
                await engine.close()

        return asyncio.run(work())

    assert run("cuda") == run("cpu")
