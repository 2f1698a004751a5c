"""Budget forcing: what holds of every chain, where thinking ends, and what is refused."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1ray.chat_format import DELIMITERS, decode, render_training_text
from s1ray.config.generation import Accounting
from s1ray.generation.budget import BudgetPolicy
from s1ray.generation.forcing import force_budget
from s1ray.records import ThinkingEnd
from tests.generation.forced_chains import NATURAL, PROMPT, TOKENIZER, answer_context, run
from tests.generation.scripted_engines import (
    GREEDY,
    IDS,
    PIECES,
    ScriptedEngine,
    ids_of,
    random_language,
    replayed,
    toy_tokens,
)

policies = st.builds(
    BudgetPolicy,
    name=st.just("drawn"),
    max_thinking_tokens=st.none() | st.integers(5, 24),
    num_waits=st.integers(0, 4),
    wait_strings=st.sampled_from([("Wait",), ("",), ("Wait", "Hmm", "abc"), ("Waitabc", "")]),
    min_thinking_tokens=st.integers(0, 5),
    answer_prefix=st.sampled_from(["", "Final Answer:"]),
    max_answer_tokens=st.integers(1, 6),
    accounting=st.sampled_from(list(Accounting)),
    is_step_limited=st.booleans(),
)


@settings(max_examples=1500)
@given(
    policy=policies,
    preset=st.sampled_from(["s1", "think_tags", "s1_steps"]),
    salt=st.integers(0, 2**32),
    favourite=st.sampled_from(["<|im_start|>", "<|im_end|>", "a", "</", ">", "0", "answer"]),
    context_tokens=st.integers(30, 64),
)
def test_every_scripted_chain_keeps_the_invariants(
    policy: BudgetPolicy, preset: str, salt: int, favourite: str, context_tokens: int
) -> None:
    engine = ScriptedEngine(
        random_language(salt, favourites=(IDS[favourite],)), context_tokens=context_tokens
    )
    if preset != "s1_steps":
        policy = replace(policy, is_step_limited=False)
    done = run(engine, policy, preset)
    tokens = toy_tokens(preset)
    answers = [request for request in engine.requests if tokens.stop not in request.stop_sequences]

    assert answers == engine.requests[-1:]
    assert done.thinking == decode(TOKENIZER, done.thinking_ids)
    assert done.answer == decode(TOKENIZER, done.answer_ids)
    assert policy.max_thinking_tokens is None or (
        len(done.thinking_ids) <= policy.max_thinking_tokens
    )
    assert done.num_waits_applied == len(done.wait_positions) <= policy.num_waits
    for number, place in enumerate(done.wait_positions):
        wait = ids_of(policy.wait_strings[number % len(policy.wait_strings)])
        end = min(place + len(wait), len(done.thinking_ids))
        assert done.thinking_ids[place:end] == wait[: end - place]
    shown = answers[0].token_ids[len(PROMPT) + len(tokens.start) :]
    assert shown[: len(done.thinking_ids)] == done.thinking_ids
    assert done.num_generated_tokens == engine.decoded_tokens
    if done.thinking_end in (ThinkingEnd.MODEL, ThinkingEnd.END_TOKEN):
        assert len(done.thinking_ids) >= policy.min_thinking_tokens
        assert not done.is_answer_forced
    if done.thinking_end is ThinkingEnd.CAP and not policy.is_step_limited:
        assert len(done.thinking_ids) == policy.max_thinking_tokens
    if policy.accounting is Accounting.TOTAL and done.thinking_end in (
        ThinkingEnd.CAP,
        ThinkingEnd.CONTEXT,
    ):
        assert done.is_answer_forced == bool(policy.answer_prefix)
    for request in engine.requests:
        assert len(request.token_ids) + request.max_tokens <= context_tokens


@settings(max_examples=300)
@given(salt=st.integers(0, 2**32), cap=st.integers(1, 30))
def test_capped_thinking_is_a_prefix_of_natural_thinking(salt: int, cap: int) -> None:
    language = random_language(salt, favourites=(IDS["<|im_start|>"],))
    natural = run(ScriptedEngine(language, context_tokens=80), NATURAL)
    capped = run(
        ScriptedEngine(language, context_tokens=80), replace(NATURAL, max_thinking_tokens=cap)
    )
    assert capped.thinking_ids == natural.thinking_ids[:cap]


def test_natural_end_opens_the_answer_and_leaves_the_rest_to_the_model() -> None:
    engine = ScriptedEngine(replayed(ids_of("\nab\n<|im_start|>\nc<|im_end|>")))
    done = run(engine, NATURAL)
    assert answer_context(engine) == "<|im_start|>think\nab\n<|im_start|>answer"
    assert (done.thinking, done.answer) == ("\nab\n", "\nc")
    assert done.thinking_end is ThinkingEnd.MODEL
    assert (done.is_answer_forced, done.is_answer_complete) == (False, True)
    assert done.num_generated_tokens == 8


def test_what_the_model_sees_and_writes_equals_training_text() -> None:
    engine = ScriptedEngine(replayed(ids_of("\nab\n<|im_start|>\nc<|im_end|>")))
    done = run(engine, NATURAL)
    text = render_training_text(
        TOKENIZER,
        question="c",
        thinking="ab",
        answer="c",
        delimiters=replace(DELIMITERS["s1"], answer_label=""),
        system_prompt=None,
    )
    assert answer_context(engine) + done.answer + "<|im_end|>" == text.completion


def test_cap_closes_with_newline_opener_and_answer_prefix() -> None:
    engine = ScriptedEngine(replayed(ids_of("abcdef<|im_end|>")))
    done = run(engine, replace(NATURAL, max_thinking_tokens=3))
    assert answer_context(engine) == ("<|im_start|>thinkabc\n<|im_start|>answer\nFinal Answer:")
    assert (done.thinking, done.answer) == ("abc", "\nFinal Answer:def")
    assert (done.thinking_end, done.is_answer_forced) == (ThinkingEnd.CAP, True)


def test_cap_after_a_newline_adds_no_second_one() -> None:
    engine = ScriptedEngine(replayed(ids_of("ab\nd<|im_end|>")))
    run(engine, replace(NATURAL, max_thinking_tokens=3))
    assert answer_context(engine) == "<|im_start|>thinkab\n<|im_start|>answer\nFinal Answer:"


def test_no_thinking_asks_for_the_answer_alone() -> None:
    engine = ScriptedEngine(replayed(ids_of("d<|im_end|>")))
    done = run(engine, replace(NATURAL, max_thinking_tokens=0))
    assert len(engine.requests) == 1
    assert answer_context(engine) == "<|im_start|>think\n<|im_start|>answer\nFinal Answer:"
    assert (done.thinking_ids, done.thinking_end) == ((), ThinkingEnd.CAP)


def test_minimum_keeps_the_model_from_ending_early() -> None:
    engine = ScriptedEngine(random_language(3, favourites=(IDS["<|im_start|>"],)))
    run(engine, replace(NATURAL, min_thinking_tokens=5, max_thinking_tokens=9))
    assert engine.requests[0].min_tokens == 5


def test_context_window_leaves_room_for_closing_and_answer() -> None:
    engine = ScriptedEngine(replayed([IDS["a"]]), context_tokens=32)
    done = run(engine, NATURAL)
    assert done.thinking_end is ThinkingEnd.CONTEXT
    assert done.is_answer_forced
    assert len(engine.requests[-1].token_ids) + NATURAL.max_answer_tokens == 32
    assert len(done.answer_ids) == len(ids_of("\nFinal Answer:")) + 8


def test_delimiter_of_several_tokens_is_found_at_the_end_of_the_budget() -> None:
    engine = ScriptedEngine(replayed(ids_of("abc") + ids_of("</think>") + ids_of("d<|im_end|>")))
    done = run(engine, replace(NATURAL, max_thinking_tokens=4), "think_tags")
    assert (done.thinking, done.thinking_end) == ("abc", ThinkingEnd.MODEL)


def test_delimiter_that_begins_after_the_budget_is_cut_away() -> None:
    engine = ScriptedEngine(replayed(ids_of("abcd") + ids_of("</think>") + ids_of("d<|im_end|>")))
    done = run(engine, replace(NATURAL, max_thinking_tokens=4), "think_tags")
    assert (done.thinking, done.thinking_end) == ("abcd", ThinkingEnd.CAP)


def test_delimiter_joined_with_the_separator_ends_thinking() -> None:
    engine = ScriptedEngine(replayed(ids_of("ab</think>\n\nc<|im_end|>")))
    done = run(engine, NATURAL, "think_tags")
    assert (done.thinking, done.answer) == ("ab", "c")
    assert engine.requests[-1].token_ids[-3:] == ids_of("</think>\n\n")


def test_prompt_that_leaves_no_room_for_the_answer_is_refused() -> None:
    engine = ScriptedEngine(replayed([0]), context_tokens=16)
    with pytest.raises(ValueError, match=r"max_answer_tokens=8 exceed the context window of 16"):
        run(engine, NATURAL)


def test_prompt_out_of_vocabulary_is_refused() -> None:
    chain = force_budget(
        (len(PIECES),),
        policy=NATURAL,
        tokens=toy_tokens("s1"),
        tokenizer=TOKENIZER,
        context_tokens=64,
        vocabulary_size=len(PIECES),
        sampling=GREEDY,
    )
    with pytest.raises(ValueError, match=f"token id {len(PIECES)} is out of vocabulary"):
        next(chain)


def test_generated_id_out_of_vocabulary_is_refused() -> None:
    engine = ScriptedEngine(replayed([999]))
    with pytest.raises(ValueError, match="token id 999 is out of vocabulary"):
        run(engine, NATURAL)
