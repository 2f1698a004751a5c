"""vLLM under budget forcing, on a real model: the same records as transformers, ties apart.

It runs in the environment of ``make test-vllm`` on the model that S1RAY_CONFORMANCE_MODEL names.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from s1ray.chat_format import DELIMITERS, encode, read_thinking_tokens, render_prompt
from s1ray.config.generation import Accounting
from s1ray.generation.budget import BudgetPolicy
from s1ray.generation.engine import Engine
from s1ray.generation.forcing import complete, force_budget
from s1ray.generation.shared_chains import SharedChains
from s1ray.generation.transformers_engine import TransformersEngine, load_model
from s1ray.records import Completion
from tests.generation.scripted_engines import GREEDY
from tests.generation.vllm_model import find_vllm_model

pytestmark = pytest.mark.vllm
logger = logging.getLogger(__name__)

CONTEXT_TOKENS = 320
TIE_NATS = 1e-3
"""Between the scores of two tokens: far above float32's rounding, far below a preference."""
QUESTIONS = (
    "What is 3 + 5 - 2?",
    "How many prime numbers are there below 30?",
    "Alice has 12 apples and gives a third of them to Bob. How many are left?",
    "Which is larger, 2/3 or 3/5?",
)
NATURAL = BudgetPolicy(
    name="natural", max_thinking_tokens=None, num_waits=0, wait_strings=("Wait",),
    min_thinking_tokens=0, answer_prefix="Final Answer:", max_answer_tokens=16,
    accounting=Accounting.TOTAL,
)  # fmt: skip
LIMITS = ({"max_thinking_tokens": 0}, {"max_thinking_tokens": 24}, {"max_thinking_tokens": 60})
WAITS = (
    {"max_thinking_tokens": 96, "num_waits": 2},
    {"max_thinking_tokens": 96, "num_waits": 1, "min_thinking_tokens": 20},
)
POLICIES = tuple(replace(NATURAL, **changes) for changes in (*LIMITS, *WAITS))


@dataclass(frozen=True)
class Pair:
    """One model on both engines."""

    transformers: Engine
    vllm: Engine
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    path: Path
    loop: asyncio.AbstractEventLoop

    def solve(self, engine: Engine) -> list[Completion]:
        """Every question under every policy, all at once."""
        tokens = read_thinking_tokens(self.tokenizer, DELIMITERS["s1"])
        prompts = [
            encode(self.tokenizer, render_prompt(self.tokenizer, text, system_prompt=None))
            for text in QUESTIONS
        ]

        async def run() -> list[Completion]:
            chains = [
                force_budget(
                    prompt,
                    policy=policy,
                    tokens=tokens,
                    tokenizer=self.tokenizer,
                    context_tokens=CONTEXT_TOKENS,
                    vocabulary_size=engine.vocabulary_size,
                    sampling=GREEDY,
                )
                for prompt in prompts
                for policy in POLICIES
            ]
            return await asyncio.gather(*(complete(engine, chain) for chain in chains))

        return self.loop.run_until_complete(run())


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    path = find_vllm_model()
    from s1ray.generation.vllm_engine import VllmEngine  # noqa: PLC0415

    loop = asyncio.new_event_loop()

    async def begin() -> Engine:
        settings = {
            "dtype": "float32", "max_num_seqs": 16, "gpu_memory_utilization": 0.2,
            "enable_prefix_caching": True, "enforce_eager": True, "max_lora_rank": 8,
        }  # fmt: skip
        return VllmEngine(path, context_tokens=CONTEXT_TOKENS, num_adapters=1, settings=settings)

    vllm = loop.run_until_complete(begin())
    model = load_model(path, dtype="float32", device="cpu", adapter=None)
    transformers = build_transformers(model)
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    yield Pair(transformers, vllm, model, tokenizer, path, loop)
    loop.run_until_complete(vllm.close())
    loop.run_until_complete(transformers.close())
    loop.close()


def build_transformers(model: PreTrainedModel) -> TransformersEngine:
    return TransformersEngine(
        model,
        max_batch_size=16,
        cache_slots=24,
        max_prefill_tokens=512,
        context_tokens=CONTEXT_TOKENS,
        num_threads=None,
    )


def measure_tie(model: PreTrainedModel, context: Sequence[int], first: int, second: int) -> float:
    """How far apart the model itself holds two tokens after a context, in nats."""
    with torch.inference_mode():
        scores = model(torch.tensor([list(context)])).logits[0, -1].double()
    return abs(float(scores[first] - scores[second]))


def written(completion: Completion) -> tuple[int, ...]:
    return (*completion.thinking_ids, *completion.answer_ids)


def assert_ties_alone(
    pair: Pair, model: PreTrainedModel, ours: list[Completion], theirs: list[Completion]
) -> None:
    """Hold that records differ in few places, and there by a tie in the model that wrote ours."""
    prompts = [
        encode(pair.tokenizer, render_prompt(pair.tokenizer, text, system_prompt=None))
        for text in QUESTIONS
        for _ in POLICIES
    ]
    start = read_thinking_tokens(pair.tokenizer, DELIMITERS["s1"]).start
    num_ties = 0
    for prompt, mine, other in zip(prompts, ours, theirs, strict=True):
        if mine == other:
            continue
        a, b = written(mine), written(other)
        place = next(i for i, pair_of in enumerate(zip(a, b, strict=False)) if len({*pair_of}) > 1)
        assert place < len(mine.thinking_ids)
        gap = measure_tie(model, (*prompt, *start, *a[:place]), a[place], b[place])
        logger.warning("tie of %.2e nats at thinking token %d", gap, place)
        num_ties += 1
        assert gap < TIE_NATS
    assert num_ties <= len(ours) // 4


def test_greedy_records_are_identical_apart_from_ties(pair: Pair) -> None:
    ours, theirs = pair.solve(pair.transformers), pair.solve(pair.vllm)

    assert any(made.num_waits_applied for made in ours)
    assert_ties_alone(pair, pair.model, ours, theirs)


def test_shared_chains_change_no_record_and_save_tokens(pair: Pair) -> None:
    shared = SharedChains(pair.vllm, remembered_tokens=10**6, is_noise_positional=False)
    before = pair.vllm.counters()["decoded_tokens"]
    alone = pair.solve(pair.vllm)
    between = pair.vllm.counters()["decoded_tokens"]
    assert pair.solve(shared) == alone
    assert pair.vllm.counters()["decoded_tokens"] - between < between - before


def test_adapter_writes_what_the_merged_model_writes(pair: Pair, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="peft is not in this environment")
    torch.manual_seed(0)
    base = load_model(pair.path, dtype="float32", device="cpu", adapter=None)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
    lora = peft.LoraConfig(r=8, target_modules=targets, init_lora_weights=False)
    adapted = peft.get_peft_model(base, lora)
    adapted.save_pretrained(tmp_path)
    merged = load_model(pair.path, dtype="float32", device="cpu", adapter=tmp_path)
    engine = build_transformers(merged)
    expected = pair.solve(engine)
    made = pair.solve(pair.vllm.with_adapter(tmp_path))
    pair.loop.run_until_complete(engine.close())
    assert_ties_alone(pair, merged, expected, made)
    assert made != pair.solve(pair.vllm)
