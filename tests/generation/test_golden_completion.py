"""Two chains under budget forcing on a tiny model, as they were: what a refactor must not move.

Where the drawing of tokens or the forcing is changed on purpose, the failing test prints the new
record: put it here, and say so in the commit's message.
"""

import asyncio
from dataclasses import replace

import pytest
from transformers import Qwen2Config, Qwen2ForCausalLM

from s1ray.generation.engine import Sampling
from s1ray.generation.forcing import complete, force_budget
from s1ray.records import Completion, ThinkingEnd
from tests.fakes import draw_weights
from tests.generation.scripted_engines import PIECES, WAIT, ToyTokenizer, ids_of, toy_tokens
from tests.generation.tiny_models import SHAPE, open_engine

POLICY = replace(WAIT, name="two_waits", max_thinking_tokens=40, num_waits=2, max_answer_tokens=12)


SELF_ENDED = Completion(
    thinking="hh1Think for up to h  steps left >\n\nWait steps left>h> steps leftb"
    "Think for up to >\n\nWaitbHmm22h",
    answer="Think for up to 2 steps left",
    thinking_ids=(
        22, 22, 24, 14, 22, 27, 13, 27, 11, 5, 13, 10,
        22, 10, 13, 16, 14, 11, 5, 16, 6, 25, 25, 22,
    ),
    answer_ids=(14, 25, 13),
    wait_positions=(9, 20),
    num_waits_applied=2,
    num_generated_tokens=29,
    thinking_end=ThinkingEnd.MODEL,
    is_answer_forced=False,
    is_answer_complete=True,
)  # fmt: skip
"""Its second Wait in ``thinking`` is the model's own."""
CAPPED = Completion(
    thinking="12Waitanswer0.hfThink for up to h</f</ steps left02hh steps left>\n\n<</hahhhh"
    "\n\nanswer\n\nh2>\n\nanswer2d2</h",
    answer="\nFinal Answer:2<|im_start|>.\n\nfh.h",
    thinking_ids=(
        24, 25, 5, 3, 23, 26, 22, 20, 14, 22, 8, 20, 8, 13, 23, 25, 22, 22, 13, 11,
        9, 8, 22, 15, 22, 22, 22, 22, 12, 3, 12, 22, 25, 11, 3, 25, 18, 25, 8, 22,
    ),
    answer_ids=(4, 7, 25, 0, 26, 12, 20, 22, 26, 22),
    wait_positions=(2,),
    num_waits_applied=1,
    num_generated_tokens=49,
    thinking_end=ThinkingEnd.CAP,
    is_answer_forced=True,
    is_answer_complete=True,
)  # fmt: skip


@pytest.mark.parametrize(("seed", "golden"), [(5, SELF_ENDED), (10, CAPPED)])
def test_sampled_chain_with_waits_is_what_it_was(seed: int, golden: Completion) -> None:
    model = Qwen2ForCausalLM(Qwen2Config(**SHAPE, vocab_size=len(PIECES))).eval()
    draw_weights(model, seed=0)

    async def run() -> Completion:
        engine = open_engine(model)
        chain = force_budget(
            ids_of("abcb"),
            policy=POLICY,
            tokens=toy_tokens("s1"),
            tokenizer=ToyTokenizer(),
            context_tokens=engine.context_tokens,
            vocabulary_size=engine.vocabulary_size,
            sampling=Sampling(temperature=1.0, top_p=0.95, top_k=0, seed=seed),
        )
        try:
            return await complete(engine, chain)
        finally:
            await engine.close()

    assert asyncio.run(run()) == golden
