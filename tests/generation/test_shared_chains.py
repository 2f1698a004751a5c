import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s1ray.generation.budget import BudgetPolicy
from s1ray.generation.engine import Engine, Generation, Request, Sampling
from s1ray.generation.forcing import complete, force_budget
from s1ray.generation.shared_chains import SharedChains
from s1ray.records import Completion
from tests.generation.scripted_engines import (
    GREEDY,
    GRID,
    IDS,
    PIECES,
    ScriptedEngine,
    ToyTokenizer,
    ids_of,
    is_masked,
    random_language,
    toy_tokens,
)
from tests.generation.tiny_models import ask, build_tiny, open_engine

torch.set_num_threads(1)

SEEDED = Sampling(temperature=1.0, top_p=1.0, top_k=0, seed=5)


async def run_grid(
    engine: Engine, policies: Sequence[BudgetPolicy], *, sampling: Sampling, preset: str
) -> list[Completion]:
    def chain(policy: BudgetPolicy) -> Any:
        return force_budget(
            ids_of("abcb"),
            policy=policy,
            tokens=toy_tokens(preset),
            tokenizer=ToyTokenizer(),
            context_tokens=engine.context_tokens,
            vocabulary_size=len(PIECES),
            sampling=sampling,
        )

    return await asyncio.gather(*(complete(engine, chain(policy)) for policy in policies))


@settings(max_examples=120)
@given(
    salt=st.integers(0, 2**32),
    order=st.permutations(GRID),
    sampling=st.sampled_from([GREEDY, SEEDED]),
    preset=st.sampled_from(["s1", "think_tags"]),
    remembered=st.sampled_from([1, 60, 10_000]),
)
def test_records_of_a_grid_are_the_same_with_and_without_sharing(
    salt: int, order: list[BudgetPolicy], sampling: Sampling, preset: str, remembered: int
) -> None:
    language = random_language(salt, favourites=(IDS["<|im_start|>"], IDS["</"]))

    def run(*, is_shared: bool) -> tuple[list[Completion], int]:
        engine = ScriptedEngine(language, context_tokens=90)
        used = (
            SharedChains(engine, remembered_tokens=remembered, is_noise_positional=True)
            if is_shared
            else engine
        )
        made = asyncio.run(run_grid(used, order, sampling=sampling, preset=preset))
        return made, engine.decoded_tokens

    shared, few = run(is_shared=True)
    alone, many = run(is_shared=False)
    assert shared == alone
    assert few <= many + 2 * len(order)


def test_stop_that_begins_before_the_least_length_is_held_back_in_a_longer_request_too() -> None:
    words = {(): 1, (1,): 2, (1, 2): 3}

    def next_token(request: Request, generated: tuple[int, ...]) -> int:
        token = words.get((*request.token_ids, *generated)[1:], 9)
        return 8 if is_masked(request, generated, token) else token

    async def run(engine: Engine) -> list[Generation]:
        ask = Request(
            token_ids=(4,),
            stop_sequences=((1, 2, 3),),
            min_tokens=1,
            max_tokens=3,
            sampling=GREEDY,
        )
        return [await engine.generate(replace(ask, max_tokens=length)) for length in (3, 6)]

    plain = ScriptedEngine(next_token)
    shared = SharedChains(plain, remembered_tokens=100, is_noise_positional=True)
    expected = asyncio.run(run(plain))
    assert expected[1].token_ids == (1, 2, 8, 9, 9, 9)
    assert asyncio.run(run(shared)) == expected


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED])
def test_records_on_a_real_engine_are_the_same_and_cost_fewer_tokens(sampling: Sampling) -> None:
    model = build_tiny("qwen2", vocab_size=len(PIECES))

    async def run(*, is_shared: bool) -> tuple[list[Completion], int]:
        engine = open_engine(
            model, max_batch_size=8, cache_slots=12, max_prefill_tokens=64, context_tokens=120
        )
        used = (
            SharedChains(engine, remembered_tokens=10_000, is_noise_positional=True)
            if is_shared
            else engine
        )
        made = await run_grid(used, GRID, sampling=sampling, preset="s1")
        await used.close()
        return made, engine.counters()["decoded_tokens"]

    shared, few = asyncio.run(run(is_shared=True))
    alone, many = asyncio.run(run(is_shared=False))
    assert shared == alone
    assert few < 0.7 * many


def scripted(
    remembered_tokens: int, *, is_noise_positional: bool = True
) -> tuple[ScriptedEngine, SharedChains]:
    engine = ScriptedEngine(random_language(1, favourites=()))
    return engine, SharedChains(
        engine, remembered_tokens=remembered_tokens, is_noise_positional=is_noise_positional
    )


def test_smaller_and_larger_requests_in_flight_generate_the_longest_once() -> None:
    engine, shared = scripted(1000)

    async def run() -> list[Generation]:
        return await asyncio.gather(*(shared.generate(ask((1, 2), n)) for n in (4, 16, 8, 32)))

    made = asyncio.run(run())
    assert engine.decoded_tokens == 32
    assert shared.counters() == {"decoded_tokens": 32, "shared_tokens": 4 + 8 + 16}
    assert [g.token_ids for g in made] == [made[3].token_ids[:n] for n in (4, 16, 8, 32)]


def test_other_seeds_are_other_chains() -> None:
    engine, shared = scripted(1000)

    async def run() -> None:
        for seed in (1, 2):
            await shared.generate(ask((1,), 5, sampling=replace(SEEDED, seed=seed)))

    asyncio.run(run())
    assert engine.decoded_tokens == 10


def test_engine_without_positional_noise_shares_greedy_chains_alone() -> None:
    engine, shared = scripted(1000, is_noise_positional=False)

    async def run(sampling: Sampling) -> None:
        for _ in range(2):
            await shared.generate(ask((1,), 5, sampling=sampling))

    asyncio.run(run(SEEDED))
    assert engine.decoded_tokens == 10
    asyncio.run(run(GREEDY))
    assert engine.decoded_tokens == 15


def test_chains_beyond_the_limit_are_forgotten_oldest_first() -> None:
    engine, shared = scripted(24)

    async def run(contexts: list[tuple[int, ...]]) -> None:
        for context in contexts:
            await shared.generate(ask(context, 10))

    asyncio.run(run([(1,), (2,), (3,)]))
    assert engine.decoded_tokens == 30
    asyncio.run(run([(3,), (2,)]))
    assert engine.decoded_tokens == 30
    asyncio.run(run([(1,)]))
    assert engine.decoded_tokens == 40


def test_cancelled_request_leaves_the_chain_to_the_others() -> None:
    engine, shared = scripted(1000)

    async def run() -> Generation:
        first = asyncio.create_task(shared.generate(ask((1, 2), 50)))
        second = asyncio.create_task(shared.generate(ask((1, 2), 6)))
        while engine.decoded_tokens < 3:
            await asyncio.sleep(0)
        first.cancel()
        return await second

    made = asyncio.run(asyncio.wait_for(run(), timeout=10))
    alone = asyncio.run(ScriptedEngine(engine.next_token).generate(ask((1, 2), 6)))
    assert made == alone


def test_failing_request_leaves_the_chain_to_the_others() -> None:
    engine, shared = scripted(1000)
    failures = iter([RuntimeError("lost")])
    language = engine.next_token

    def fail_once(request: Request, generated: tuple[int, ...]) -> int:
        for failure in failures:
            raise failure
        return language(request, generated)

    engine.next_token = fail_once

    async def run() -> list[Any]:
        asks = (shared.generate(ask((1, 2), 4)), shared.generate(ask((1, 2), 6)))
        return await asyncio.gather(*asks, return_exceptions=True)

    lost, made = asyncio.run(run())
    assert isinstance(lost, RuntimeError)
    assert len(made.token_ids) == 6


def test_wrong_request_is_refused() -> None:
    _, shared = scripted(1000)
    with pytest.raises(ValueError, match="max_tokens=0; legal"):
        asyncio.run(shared.generate(ask((1,), 0)))


def test_greedy_chains_are_shared_whatever_their_seeds_are() -> None:
    engine = ScriptedEngine(random_language(1, ()), context_tokens=80)
    shared = SharedChains(engine, remembered_tokens=10**6, is_noise_positional=True)

    def ask(seed: int, temperature: float) -> Request:
        sampling = Sampling(temperature=temperature, top_p=1.0, top_k=0, seed=seed)
        return Request(
            token_ids=(1, 2), min_tokens=0, max_tokens=9, stop_sequences=(), sampling=sampling
        )

    async def run() -> None:
        greedy = [await shared.generate(ask(seed, 0.0)) for seed in (1, 2)]
        assert greedy[0] == greedy[1]
        assert engine.decoded_tokens == 9
        drawn = [await shared.generate(ask(seed, 1.0)) for seed in (1, 2)]
        assert drawn[0] != drawn[1]

    asyncio.run(run())
