"""What every engine on token ids keeps to; one set of tests for all of them.

The oracle is ``model.generate`` of transformers on one context alone, in float32. The vLLM half
runs in its own environment on the model of ``vllm_model.py``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from s1ray.generation.engine import Engine, Generation, Request, Sampling
from tests.generation.tiny_models import ask, build_tiny, generate_alone, open_engine
from tests.generation.vllm_model import find_vllm_model

CONTEXT_TOKENS = 256


@dataclass(frozen=True)
class Subject:
    """An engine under test and the model that says what is right."""

    model: PreTrainedModel
    engine: Engine
    loop: asyncio.AbstractEventLoop

    def run(self, work: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, timeout=300))

    def generate(self, *requests: Request) -> list[Generation]:
        async def gather() -> list[Generation]:
            return await asyncio.gather(*map(self.engine.generate, requests))

        return self.run(gather())

    def expect(self, context: tuple[int, ...], max_tokens: int) -> tuple[int, ...]:
        return generate_alone(self.model, context, max_tokens=max_tokens)


def open_transformers() -> tuple[PreTrainedModel, Engine]:
    torch.set_num_threads(1)
    model = build_tiny("qwen2")
    return model, open_engine(model, cache_slots=8, context_tokens=CONTEXT_TOKENS)


def open_vllm() -> tuple[PreTrainedModel, Engine]:
    path = find_vllm_model()
    from s1ray.generation.vllm_engine import VllmEngine  # noqa: PLC0415

    engine = VllmEngine(
        path,
        context_tokens=CONTEXT_TOKENS,
        num_adapters=0,
        settings={
            "dtype": "float32",
            "max_num_seqs": 8,
            "gpu_memory_utilization": 0.2,
            "enable_prefix_caching": True,
            "enforce_eager": True,
        },
    )
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, local_files_only=True)
    return model, engine


OPENERS: dict[str, Callable[[], tuple[PreTrainedModel, Engine]]] = {
    "transformers": open_transformers,
    "vllm": open_vllm,
}


@pytest.fixture(
    scope="module", params=["transformers", pytest.param("vllm", marks=pytest.mark.vllm)]
)
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    loop = asyncio.new_event_loop()

    async def begin() -> tuple[PreTrainedModel, Engine]:
        return OPENERS[request.param]()

    model, engine = loop.run_until_complete(begin())
    yield Subject(model=model, engine=engine, loop=loop)
    loop.run_until_complete(engine.close())
    loop.close()


CONTEXTS = [tuple(range(5, 5 + length)) for length in (1, 3, 20, 50, 64)]


def test_engine_satisfies_the_protocol(subject: Subject) -> None:
    assert isinstance(subject.engine, Engine)
    assert subject.engine.context_tokens == CONTEXT_TOKENS


def test_greedy_continuations_in_one_batch_equal_generate_alone(subject: Subject) -> None:
    made = subject.generate(*(ask(context, 16) for context in CONTEXTS))
    expected = [subject.expect(context, 16) for context in CONTEXTS]
    assert [g.token_ids for g in made] == expected
    assert {g.stop_sequence for g in made} == {None}


def test_stop_token_is_kept_and_named(subject: Subject) -> None:
    free = subject.expect(CONTEXTS[2], 16)
    stop = free[7:8]
    made = subject.generate(ask(CONTEXTS[2], 16, stop_sequences=(stop,)))[0]
    assert made == Generation(token_ids=free[: free.index(stop[0]) + 1], stop_sequence=stop)


def test_stop_sequence_of_several_tokens_is_kept_and_named(subject: Subject) -> None:
    free = subject.expect(CONTEXTS[3], 20)
    stop = free[9:12]
    end = next(i for i in range(3, 21) if free[i - 3 : i] == stop)
    decoy = (free[4] + 1, stop[-1])
    made = subject.generate(ask(CONTEXTS[3], 20, stop_sequences=(decoy, stop)))[0]
    assert made == Generation(token_ids=free[:end], stop_sequence=stop)


def test_minimum_holds_a_stop_token_back(subject: Subject) -> None:
    stop = subject.expect(CONTEXTS[1], 1)
    made = subject.generate(ask(CONTEXTS[1], 9, stop_sequences=(stop,), min_tokens=3))[0]
    assert stop[0] not in made.token_ids[:3]


def test_minimum_holds_back_the_end_of_a_longer_stop_alone(subject: Subject) -> None:
    free = subject.expect(CONTEXTS[1], 12)
    stop = free[1:3]
    made = subject.generate(ask(CONTEXTS[1], 12, stop_sequences=(stop,), min_tokens=2))[0]
    assert made.token_ids[:2] == free[:2]
    assert made.token_ids[1:3] != stop


def test_continuation_of_a_finished_context_reuses_it(subject: Subject) -> None:
    # Longer than a block of vLLM's cache, which on CPU is 128 tokens.
    context = tuple(5 + place % 90 for place in range(170))
    first = subject.generate(ask(context, 24))[0].token_ids
    before = subject.engine.counters()["reused_tokens"]
    longer = (*context, *first[:-1], 7)
    made = subject.generate(ask(longer, 8))[0]
    assert made.token_ids == subject.expect(longer, 8)
    assert subject.engine.counters()["reused_tokens"] - before >= len(longer) // 2


def test_seed_decides_what_is_drawn(subject: Subject) -> None:
    def draw(seed: int) -> Request:
        sampling = Sampling(temperature=1.0, top_p=0.95, top_k=20, seed=seed)
        return ask(CONTEXTS[2], 12, sampling=sampling)

    first, other, again = subject.generate(draw(1), draw(2), draw(1))
    alone = subject.generate(draw(1))[0]
    assert first == again == alone
    assert first != other


@pytest.mark.parametrize("max_tokens", [CONTEXT_TOKENS, 0])
def test_wrong_request_is_refused_and_the_engine_goes_on(subject: Subject, max_tokens: int) -> None:
    with pytest.raises(ValueError, match="max_tokens"):
        subject.generate(ask((5,), max_tokens))
    with pytest.raises(ValueError, match="out of vocabulary"):
        subject.generate(ask((subject.engine.vocabulary_size,), 1))
    assert subject.generate(ask(CONTEXTS[0], 4))[0].token_ids == subject.expect(CONTEXTS[0], 4)


def test_listener_hears_every_token_once_and_in_order(subject: Subject) -> None:
    stop = subject.expect(CONTEXTS[2], 16)[7:8]
    requests = [ask(context, 16, stop_sequences=(stop,), min_tokens=2) for context in CONTEXTS]
    heard: list[list[tuple[int, ...]]] = [[] for _ in requests]

    async def listen() -> list[Generation]:
        return await asyncio.gather(
            *(
                subject.engine.generate(request, listener=pieces.append)
                for request, pieces in zip(requests, heard, strict=True)
            )
        )

    made = subject.run(listen())
    assert made == subject.generate(*requests)
    for generation, pieces in zip(made, heard, strict=True):
        assert tuple(token for piece in pieces for token in piece) == generation.token_ids
        assert len(pieces) > len(generation.token_ids) // 2


def test_cancelled_request_leaves_the_others_right(subject: Subject) -> None:
    async def run() -> Generation:
        begun, loop = asyncio.Event(), asyncio.get_running_loop()

        def hear(_: object) -> None:
            loop.call_soon_threadsafe(begun.set)

        generating = subject.engine.generate(ask((9, 8, 7), 200), listener=hear)
        doomed = asyncio.create_task(generating)
        kept = asyncio.create_task(subject.engine.generate(ask(CONTEXTS[1], 12)))
        await asyncio.wait_for(begun.wait(), 60)
        assert doomed.cancel()
        return await kept

    assert subject.run(run()).token_ids == subject.expect(CONTEXTS[1], 12)
