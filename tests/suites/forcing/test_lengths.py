"""Given ends on a scripted engine: both ways of driving and both ways of sweeping agree."""

import asyncio

import pytest

from s1ray.config.suites.forcing import ThinkingLengthsConfig
from s1ray.generation.forcing import Chain
from s1ray.generation.shared_chains import SharedChains
from s1ray.records import Completion, ThinkingEnd
from s1ray.suites.forcing.chains import Prompter, drive_freely, drive_in_rounds
from s1ray.suites.forcing.lengths import Script, ScriptedEnds, draw_lengths
from tests.generation.scripted_engines import (
    ScriptedEngine,
    ToyTokenizer,
    ids_of,
    random_language,
    toy_tokens,
)

SCRIPTS = {
    0: Script(segments=(5, 9, 3), answer_tokens=4, forced_answer_tokens=2),
    1: Script(segments=(12, 1, 6), answer_tokens=4, forced_answer_tokens=2),
}
PROMPTER = Prompter(tokenizer=ToyTokenizer(), tokens=toy_tokens("s1"), context_tokens=400)
NUM_WAIT_TOKENS = 1


def write_engine() -> ScriptedEnds:
    inner = ScriptedEngine(random_language(3, ()), context_tokens=400)
    return ScriptedEnds(inner, scripts=SCRIPTS, num_wait_tokens=NUM_WAIT_TOKENS)


def begin(engine: ScriptedEnds | SharedChains, cap: int | None, num_waits: int) -> list[Chain]:
    return [
        PROMPTER.begin(
            ids_of("abc"[: 2 + sample]),  # greedy chains of one prompt would be shared
            engine=engine,
            sample=sample,
            cap=cap,
            num_waits=num_waits,
            answer_tokens=8,
        )
        for sample in SCRIPTS
    ]


def solve(cap: int | None, num_waits: int) -> list[Completion]:
    engine = write_engine()
    return asyncio.run(drive_freely(engine, begin(engine, cap, num_waits)))


@pytest.mark.parametrize("num_waits", [0, 1, 2])
def test_thinking_ends_where_the_script_says(num_waits: int) -> None:
    for made, script in zip(solve(None, num_waits), SCRIPTS.values(), strict=True):
        written = sum(script.segments[: num_waits + 1])
        assert made.num_thinking_tokens == written + num_waits * NUM_WAIT_TOKENS
        assert made.thinking_end is ThinkingEnd.MODEL
        assert len(made.answer_ids) == script.answer_tokens


def test_cap_before_the_end_forces_a_short_answer() -> None:
    for made in solve(4, 0):
        assert made.num_thinking_tokens == 4
        assert made.is_answer_forced
        prefix = len(ids_of("\n")) + len(ids_of("Final Answer:"))
        assert len(made.answer_ids) == prefix + 2


@pytest.mark.parametrize("num_waits", [0, 1, 2])
def test_rounds_write_the_same_as_chains_left_alone(num_waits: int) -> None:
    engine = write_engine()
    rounds = asyncio.run(drive_in_rounds(engine, begin(engine, None, num_waits)))
    assert rounds == solve(None, num_waits)


def test_shared_sweep_writes_the_same_with_fewer_tokens() -> None:
    budgets = [(2, 0), (6, 0), (20, 0), (None, 0), (None, 1), (None, 2)]
    shared = SharedChains(write_engine(), remembered_tokens=10**6, is_noise_positional=True)
    chains = [chain for budget in budgets for chain in begin(shared, *budget)]
    made = asyncio.run(drive_freely(shared, chains))
    alone = [completion for budget in budgets for completion in solve(*budget)]
    assert made == alone
    drawn = sum(completion.num_generated_tokens for completion in alone)
    assert shared.counters()["decoded_tokens"] < drawn / 2


def test_lengths_repeat_with_their_seed_and_keep_to_the_spread() -> None:
    config = ThinkingLengthsConfig(
        median_tokens=100.0, sigma=0.5, longest_tokens=300.0, divisor=2.0
    )
    lengths = draw_lengths(config, count=4001, seed=1)
    assert lengths == draw_lengths(config, count=4001, seed=1)
    assert sorted(lengths)[2000] == pytest.approx(50, rel=0.05)
    assert max(lengths) == 150
