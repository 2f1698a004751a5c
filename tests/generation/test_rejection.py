"""Rejection sampling: chains are drawn until one ends by itself."""

from dataclasses import replace

import pytest

from s1ray.records import ThinkingEnd
from tests.generation.forced_chains import NATURAL, run
from tests.generation.scripted_engines import GREEDY, IDS, ScriptedEngine, random_language, replayed

SAMPLED = replace(GREEDY, temperature=1.0, seed=9)
REJECT = replace(NATURAL, max_thinking_tokens=6, max_tries=20)


def test_rejection_draws_until_a_chain_ends_by_itself() -> None:
    engine = ScriptedEngine(random_language(2, favourites=(IDS["a"],)))
    done = run(engine, REJECT, sampling=SAMPLED)
    tries = engine.requests[:-1]
    assert len(tries) > 1
    assert len({request.sampling.seed for request in tries}) == len(tries)
    assert engine.requests[-1].sampling == tries[-1].sampling
    assert done.thinking_end in (ThinkingEnd.MODEL, ThinkingEnd.END_TOKEN)
    assert len(done.thinking_ids) < 6
    assert done.num_generated_tokens == engine.decoded_tokens


def test_rejection_answers_its_last_try_by_force() -> None:
    engine = ScriptedEngine(replayed([IDS["a"]]))
    done = run(engine, replace(REJECT, max_tries=3), sampling=SAMPLED)
    assert len(engine.requests) == 4
    assert (done.thinking, done.thinking_end) == ("aaaaaa", ThinkingEnd.CAP)
    assert done.is_answer_forced
    assert done.num_generated_tokens == 3 * 6 + 8


def test_rejection_with_greedy_decoding_is_refused() -> None:
    with pytest.raises(ValueError, match="up to 20 chains, and at temperature 0 each"):
        run(ScriptedEngine(replayed([0])), REJECT)
