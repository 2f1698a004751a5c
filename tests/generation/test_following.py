import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s1ray.config.generation import Accounting
from s1ray.generation.budget import BudgetPolicy
from s1ray.generation.engine import Sampling
from s1ray.generation.following import Part, follow
from s1ray.generation.forcing import Chain, complete, force_budget
from s1ray.generation.shared_chains import SharedChains
from tests.generation.scripted_engines import (
    IDS,
    ScriptedEngine,
    ToyTokenizer,
    ids_of,
    random_language,
    toy_tokens,
)

FAVOURITES = tuple(IDS[piece] for piece in ("<|im_start|>", "<|im_end|>", "</", "think", ">"))
POLICIES = st.builds(
    lambda cap, minimum, **rest: BudgetPolicy(
        name="p",
        answer_prefix="Final Answer:",
        accounting=Accounting.TOTAL,
        max_thinking_tokens=cap,
        min_thinking_tokens=minimum if cap is None else min(minimum, cap),
        **rest,
    ),
    cap=st.none() | st.integers(0, 30),
    minimum=st.integers(0, 12),
    num_waits=st.integers(0, 3),
    wait_strings=st.sampled_from([("Wait",), ("Wait", "Hmm"), ("",)]),
    max_answer_tokens=st.integers(1, 9),
)


def begin(policy: BudgetPolicy, preset: str) -> Chain:
    return force_budget(
        ids_of("abc"),
        policy=policy,
        tokens=toy_tokens(preset),
        tokenizer=ToyTokenizer(),
        context_tokens=80,
        vocabulary_size=len(IDS),
        sampling=Sampling(temperature=0.0, top_p=1.0, top_k=0, seed=0),
    )


@given(policy=POLICIES, salt=st.integers(0, 10**6), preset=st.sampled_from(["s1", "think_tags"]))
def test_what_is_told_is_the_completion_part_by_part(
    policy: BudgetPolicy, salt: int, preset: str
) -> None:
    engine = ScriptedEngine(random_language(salt, FAVOURITES), context_tokens=80)
    told: list[tuple[Part, tuple[int, ...]]] = []
    made = asyncio.run(
        follow(engine, begin(policy, preset), hear=lambda *piece: told.append(piece))
    )
    assert made == asyncio.run(complete(engine, begin(policy, preset)))
    for part, expected in ((Part.THINKING, made.thinking_ids), (Part.ANSWER, made.answer_ids)):
        pieces = [token_ids for told_part, token_ids in told if told_part is part]
        assert tuple(itertools.chain(*pieces)) == expected
    assert [part for part, _ in told] == sorted((part for part, _ in told), reverse=True)


@pytest.mark.parametrize("salt", range(20))
def test_chain_from_memory_is_told_as_the_first_time(salt: int) -> None:
    engine = SharedChains(
        ScriptedEngine(random_language(salt, FAVOURITES), context_tokens=80),
        remembered_tokens=10**6,
        is_noise_positional=True,
    )
    told: list[list[int]] = [[], [], []]
    caps = (9, 30, 30)

    async def run() -> None:
        for cap, heard in zip(caps, told, strict=True):
            policy = BudgetPolicy(
                name="p", max_thinking_tokens=cap, num_waits=1, wait_strings=("Wait",),
                min_thinking_tokens=0, answer_prefix="", max_answer_tokens=5,
                accounting=Accounting.TOTAL,
            )  # fmt: skip
            made = await follow(
                engine, begin(policy, "think_tags"), hear=lambda _, ids, to=heard: to.extend(ids)
            )
            assert tuple(heard) == (*made.thinking_ids, *made.answer_ids)

    asyncio.run(run())
    assert told[1] == told[2]
