"""Waits in place of an end of thinking: their turns, their cost in budget, and s1's own account."""

from dataclasses import replace

import pytest
from transformers import PreTrainedTokenizerBase

from s1ray.chat_format import DELIMITERS, read_thinking_tokens
from s1ray.config.generation import Accounting
from s1ray.generation.engine import Generation
from s1ray.generation.forcing import force_budget
from s1ray.records import ThinkingEnd
from tests.generation.forced_chains import NATURAL, answer_context, run
from tests.generation.scripted_engines import (
    GREEDY,
    IDS,
    ScriptedEngine,
    ids_of,
    random_language,
    replayed,
)


@pytest.mark.parametrize("end", ["<|im_start|>", "<|im_end|>"])
def test_wait_replaces_either_kind_of_end(end: str) -> None:
    engine = ScriptedEngine(replayed(ids_of(f"ab{end}cd{end}\nf<|im_end|>")))
    done = run(engine, replace(NATURAL, num_waits=1))
    assert done.thinking == "abWaitcd"
    assert (done.wait_positions, done.num_waits_applied) == ((2,), 1)
    ends = {"<|im_start|>": ThinkingEnd.MODEL, "<|im_end|>": ThinkingEnd.END_TOKEN}
    assert done.thinking_end is ends[end]


def test_wait_strings_take_turns() -> None:
    engine = ScriptedEngine(
        replayed(ids_of("a<|im_start|>b<|im_start|>c<|im_start|>d<|im_start|>"))
    )
    done = run(engine, replace(NATURAL, num_waits=3, wait_strings=("Wait", "Hmm")))
    assert done.thinking == "aWaitbHmmcWaitd"


def test_wait_without_budget_for_another_token_is_not_applied() -> None:
    engine = ScriptedEngine(replayed(ids_of("ab<|im_start|>cd<|im_start|>e<|im_end|>")))
    done = run(engine, replace(NATURAL, num_waits=1, max_thinking_tokens=3))
    assert (done.thinking, done.num_waits_applied) == ("ab", 0)
    assert done.thinking_end is ThinkingEnd.MODEL


def test_injected_wait_tokens_count_against_the_budget() -> None:
    engine = ScriptedEngine(replayed(ids_of("ab<|im_start|>cdefgh")))
    done = run(engine, replace(NATURAL, num_waits=1, max_thinking_tokens=5))
    assert (done.thinking, done.thinking_end) == ("abWaitcd", ThinkingEnd.CAP)


def test_harness_accounting_gives_the_cap_again_and_cuts_afterwards() -> None:
    engine = ScriptedEngine(replayed(ids_of("ab<|im_start|>cdef<|im_start|>\ng<|im_end|>")))
    policy = replace(NATURAL, num_waits=1, max_thinking_tokens=4, accounting=Accounting.S1_HARNESS)
    done = run(engine, policy)
    assert [request.max_tokens for request in engine.requests] == [4, 4, 8]
    assert (done.thinking, done.answer) == ("abWaitc", "\nFinal Answer:<|im_start|>\ng")
    assert done.thinking_end is ThinkingEnd.CAP


def test_harness_forces_no_answer_where_the_last_round_stopped_by_itself() -> None:
    engine = ScriptedEngine(replayed(ids_of("ab<|im_start|>cd<|im_start|>\ng<|im_end|>")))
    policy = replace(NATURAL, num_waits=1, max_thinking_tokens=4, accounting=Accounting.S1_HARNESS)
    done = run(engine, policy)
    assert answer_context(engine) == "<|im_start|>thinkabWaitc<|im_start|>answer"
    assert (done.thinking_end, done.is_answer_forced) == (ThinkingEnd.CAP, False)


def test_empty_wait_string_suppresses_the_end_and_adds_nothing() -> None:
    engine = ScriptedEngine(random_language(5, favourites=(IDS["<|im_start|>"],)))
    done = run(engine, replace(NATURAL, num_waits=2, wait_strings=("",), max_thinking_tokens=40))
    first, second = done.wait_positions
    assert first < second < len(done.thinking_ids)
    assert [request.min_tokens for request in engine.requests] == [0, 1, 1, 0]


def test_wait_rounds_equal_the_authors_harness_on_a_real_tokenizer(
    qwen_tokenizer: PreTrainedTokenizerBase,
) -> None:
    tokens = read_thinking_tokens(qwen_tokenizer, DELIMITERS["s1"])
    thinking = tuple(qwen_tokenizer.encode("\n2+2 is 4.", add_special_tokens=False))
    chain = force_budget(
        (1, 2),
        policy=replace(NATURAL, num_waits=1, max_thinking_tokens=len(thinking) + 3),
        tokens=tokens,
        tokenizer=qwen_tokenizer,
        context_tokens=200,
        vocabulary_size=151_665,
        sampling=GREEDY,
    )
    next(chain)
    stopped = Generation(token_ids=(*thinking, *tokens.stop), stop_sequence=tokens.stop)
    request = chain.send(stopped)
    assert request.token_ids[-1] == 14190
    request = chain.send(Generation(token_ids=(220, 19), stop_sequence=None))
    expected = "\n2+2 is 4.Wait 4\n<|im_start|>answer\nFinal Answer:"
    assert qwen_tokenizer.decode(request.token_ids[4:]) == expected
