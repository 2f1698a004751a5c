import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import MistralConfig, MistralForCausalLM, PreTrainedModel

from s1ray.generation.decoding.slot_cache import SlotCache
from s1ray.generation.engine import Generation, Request, Sampling
from s1ray.generation.transformers_engine import TransformersEngine, load_model
from tests.generation.tiny_models import VOCABULARY, ask, build_tiny, generate_alone, open_engine

torch.set_num_threads(1)


def with_engine(
    model: PreTrainedModel,
    work: Callable[[TransformersEngine], Awaitable[Any]],
    **changes: int,
) -> Any:
    async def run() -> Any:
        engine = open_engine(model, **changes)
        try:
            return await asyncio.wait_for(work(engine), timeout=60)
        finally:
            await engine.close()

    return asyncio.run(run())


def random_contexts(number: int, seed: int) -> list[tuple[int, ...]]:
    draw = random.Random(seed)
    lengths = [draw.choice((1, 2, 7, 40, 90, 130)) for _ in range(number)]
    return [tuple(draw.randrange(VOCABULARY) for _ in range(length)) for length in lengths]


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_mixed_lengths_with_refill_equal_generate_alone(family: str) -> None:
    model = build_tiny(family)
    contexts = random_contexts(14, seed=1)
    budgets = [3 + 7 * (number % 5) for number in range(14)]

    async def work(engine: TransformersEngine) -> list[Generation]:
        asks = zip(contexts, budgets, strict=True)
        return await asyncio.gather(*(engine.generate(ask(*each)) for each in asks))

    made = with_engine(model, work)
    for context, budget, generation in zip(contexts, budgets, made, strict=True):
        expected = generate_alone(model, context, max_tokens=budget)
        assert generation == Generation(token_ids=expected, stop_sequence=None)


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_continuations_and_forks_reuse_prefixes_and_equal_generate_alone(family: str) -> None:
    model = build_tiny(family)
    contexts = random_contexts(8, seed=2)

    async def chain(engine: TransformersEngine, context: tuple[int, ...]) -> list[tuple]:
        made = []
        first = await engine.generate(ask(context, 20))
        wait = (*context, *first.token_ids[:-1], 5)
        fork = (*context, *first.token_ids[:9], 6, 7)
        requests = [ask(wait, 10), ask(fork, 6), ask(fork[:-1], 5)]
        answers = await asyncio.gather(*map(engine.generate, requests))
        for request, answer in zip(requests, answers, strict=True):
            made.append((request, answer.token_ids))
        return made

    async def work(engine: TransformersEngine) -> tuple[list, int]:
        made = await asyncio.gather(*(chain(engine, context) for context in contexts))
        return [pair for pairs in made for pair in pairs], engine.counters()["reused_tokens"]

    made, num_reused = with_engine(model, work, cache_slots=16)
    for request, token_ids in made:
        expected = generate_alone(model, request.token_ids, max_tokens=request.max_tokens)
        assert token_ids == expected
    assert num_reused > sum(len(request.token_ids) for request, _ in made) / 2


def test_wait_continuation_computes_its_new_tokens_alone() -> None:
    async def work(engine: TransformersEngine) -> tuple[int, int]:
        context = tuple(range(50))
        first = await engine.generate(ask(context, 20))
        before = engine.counters()
        await engine.generate(ask((*context, *first.token_ids[:-1], 5), 3))
        after = engine.counters()
        names = ("prefill_tokens", "forward_passes")
        return tuple(after[name] - before[name] for name in names)

    assert with_engine(build_tiny("qwen2"), work) == (0, 3)


def test_samples_of_one_prompt_compute_it_once() -> None:
    context = tuple(range(60))

    async def work(engine: TransformersEngine) -> int:
        draws = [Sampling(temperature=1.0, top_p=1.0, top_k=0, seed=seed) for seed in range(4)]
        await asyncio.gather(*(engine.generate(ask(context, 4, sampling=d)) for d in draws))
        return engine.counters()["prefill_tokens"]

    assert with_engine(build_tiny("qwen2"), work) == len(context) - 1


def test_sampled_results_depend_on_seed_and_position_alone() -> None:
    model = build_tiny("qwen2")
    contexts = random_contexts(6, seed=3)
    draw = Sampling(temperature=0.8, top_p=0.9, top_k=20, seed=11)

    async def alone(engine: TransformersEngine) -> list[tuple[int, ...]]:
        return [(await engine.generate(ask(c, 12, sampling=draw))).token_ids for c in contexts]

    async def together(engine: TransformersEngine) -> list[tuple[int, ...]]:
        requests = [ask(context, 12, sampling=draw) for context in contexts]
        return [g.token_ids for g in await asyncio.gather(*map(engine.generate, requests))]

    async def in_two_parts(engine: TransformersEngine) -> list[tuple[int, ...]]:
        made = []
        for context in contexts:
            first = (await engine.generate(ask(context, 5, sampling=draw))).token_ids
            rest = await engine.generate(ask((*context, *first), 7, sampling=draw))
            made.append((*first, *rest.token_ids))
        return made

    made = with_engine(model, alone)
    assert with_engine(model, together) == made
    assert with_engine(model, in_two_parts) == made


def test_cancelled_request_frees_its_slot_and_leaves_the_others_right() -> None:
    model = build_tiny("qwen2")
    contexts = random_contexts(4, seed=4)

    async def work(engine: TransformersEngine) -> list[Generation]:
        doomed = [asyncio.create_task(engine.generate(ask((1, 2, 3), 250))) for _ in range(4)]
        while engine.counters()["decoded_tokens"] < 8:
            await asyncio.sleep(0.001)
        for task in doomed:
            task.cancel()
        await asyncio.gather(*doomed, return_exceptions=True)
        return await asyncio.gather(*(engine.generate(ask(c, 8)) for c in contexts))

    made = with_engine(model, work)
    assert [g.token_ids for g in made] == [
        generate_alone(model, context, max_tokens=8) for context in contexts
    ]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (ask((-1,), 1), "token id -1 is out of vocabulary"),
        (ask((), 1), "the context or a stop sequence is empty"),
        (ask((1,), 3, stop_sequences=((),)), "the context or a stop sequence is empty"),
        (ask((1,), 2, min_tokens=3), "min_tokens=3, max_tokens=2; legal"),
    ],
)
def test_wrong_request_is_refused_and_the_engine_goes_on(request_: Request, message: str) -> None:
    async def work(engine: TransformersEngine) -> Generation:
        with pytest.raises(ValueError, match=message):
            await engine.generate(request_)
        return await engine.generate(ask((1, 2), 3))

    assert len(with_engine(build_tiny("qwen2"), work).token_ids) == 3


def test_failing_pass_is_told_to_its_requests_and_the_engine_goes_on() -> None:
    model = build_tiny("qwen2")
    forward = model.forward
    failures = iter([MemoryError("no room")])

    def fail_once(*args: Any, **kwargs: Any) -> Any:
        for failure in failures:
            raise failure
        return forward(*args, **kwargs)

    model.forward = fail_once

    async def work(engine: TransformersEngine) -> Generation:
        with pytest.raises(RuntimeError, match="the model failed on a batch: no room"):
            await engine.generate(ask((1, 2, 3), 4))
        return await engine.generate(ask((1, 2, 3), 4))

    made = with_engine(model, work)
    model.forward = forward
    assert made.token_ids == generate_alone(model, (1, 2, 3), max_tokens=4)


def test_failure_between_passes_is_told_to_every_request_and_the_engine_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = build_tiny("qwen2")
    swap_rows = SlotCache.swap_rows
    failures = iter([MemoryError("no room")])

    def fail_once(*args: Any, **kwargs: Any) -> None:
        for failure in failures:
            raise failure
        swap_rows(*args, **kwargs)

    monkeypatch.setattr(SlotCache, "swap_rows", fail_once)
    contexts = [(row, 1, 2) for row in range(4)]

    async def work(engine: TransformersEngine) -> list[Any]:
        # The last row ends in the step in which the first one's place cannot be filled.
        asks = [ask(*each) for each in zip(contexts, (100, 200, 200, 100), strict=True)]
        failed = await asyncio.gather(*map(engine.generate, asks), return_exceptions=True)
        assert [str(error) for error in failed] == ["the model failed on a batch: no room"] * 4
        return [await engine.generate(ask(context, 4)) for context in contexts]

    made = with_engine(model, work)
    assert [generation.token_ids for generation in made] == [
        generate_alone(model, context, max_tokens=4) for context in contexts
    ]


def test_closing_cancels_pending_requests_and_refuses_new_ones() -> None:
    async def run() -> None:
        engine = open_engine(build_tiny("qwen2"))
        pending = asyncio.create_task(engine.generate(ask((1, 2, 3), 200)))
        await asyncio.sleep(0)
        await engine.close()
        with pytest.raises(asyncio.CancelledError):
            await pending
        with pytest.raises(RuntimeError, match="the engine is closed"):
            await engine.generate(ask((1,), 1))

    asyncio.run(run())


def test_context_beyond_the_models_positions_is_refused() -> None:
    with pytest.raises(ValueError, match="context_tokens=513 exceeds the model's 512 positions"):
        open_engine(build_tiny("qwen2"), context_tokens=513)


def test_model_with_sliding_windows_is_refused() -> None:
    config = MistralConfig(
        vocab_size=16,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        sliding_window=4,
        max_position_embeddings=512,
    )
    with pytest.raises(ValueError, match="a window of 4 tokens in them"):
        open_engine(MistralForCausalLM(config))


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_adapter_stays_beside_the_loaded_model(tmp_path: Path) -> None:
    model = build_tiny("qwen2")
    model.save_pretrained(tmp_path / "base")
    adapted = get_peft_model(model, LoraConfig(r=2, init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    loaded = load_model(
        tmp_path / "base", dtype="float32", device="cpu", adapter=tmp_path / "adapter"
    )
    ids = torch.tensor([[1, 2, 3]])
    with torch.inference_mode():
        torch.testing.assert_close(loaded(ids).logits, adapted(ids).logits)
        base = load_model(tmp_path / "base", dtype="float32", device="cpu", adapter=None)
        assert not torch.allclose(loaded(ids).logits, base(ids).logits)
