import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from s1ray.chat_format import DELIMITERS, decode, read_thinking_tokens, render_training_text
from s1ray.config.generation import Accounting
from s1ray.generation.budget import BudgetPolicy
from s1ray.generation.engine import Generation, Sampling
from s1ray.generation.forcing import complete, force_budget
from s1ray.records import Completion, ThinkingEnd
from tests.generation.scripted_engines import (
    GREEDY,
    IDS,
    PIECES,
    ScriptedEngine,
    ToyTokenizer,
    ids_of,
    random_language,
    replayed,
    toy_tokens,
)

TOKENIZER = ToyTokenizer()
PROMPT = ids_of("abcb")
NATURAL = BudgetPolicy(
    name="natural",
    max_thinking_tokens=None,
    num_waits=0,
    wait_strings=("Wait",),
    min_thinking_tokens=0,
    answer_prefix="Final Answer:",
    max_answer_tokens=8,
    accounting=Accounting.TOTAL,
)


def run(
    engine: ScriptedEngine,
    policy: BudgetPolicy,
    preset: str = "s1",
    sampling: Sampling = GREEDY,
) -> Completion:
    chain = force_budget(
        PROMPT,
        policy=policy,
        tokens=toy_tokens(preset),
        tokenizer=TOKENIZER,
        context_tokens=engine.context_tokens,
        vocabulary_size=engine.vocabulary_size,
        sampling=sampling,
    )
    return asyncio.run(complete(engine, chain))


def answer_context(engine: ScriptedEngine) -> str:
    return decode(TOKENIZER, engine.requests[-1].token_ids[len(PROMPT) :])


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


def test_minimum_keeps_the_model_from_ending_early() -> None:
    engine = ScriptedEngine(random_language(3, favourites=(IDS["<|im_start|>"],)))
    run(engine, replace(NATURAL, min_thinking_tokens=5, max_thinking_tokens=9))
    assert engine.requests[0].min_tokens == 5


def test_empty_wait_string_suppresses_the_end_and_adds_nothing() -> None:
    engine = ScriptedEngine(random_language(5, favourites=(IDS["<|im_start|>"],)))
    done = run(engine, replace(NATURAL, num_waits=2, wait_strings=("",), max_thinking_tokens=40))
    first, second = done.wait_positions
    assert first < second < len(done.thinking_ids)
    assert [request.min_tokens for request in engine.requests] == [0, 1, 1, 0]


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


STEPS = ids_of("2 steps left\nab\n<|im_start|>1 steps left\ncd\n<|im_start|>0 steps left\n")


def test_steps_are_counted_by_the_model_and_end_thinking_by_themselves() -> None:
    words = STEPS[: STEPS.index(IDS["0"]) - 1] + ids_of("<|im_start|>answer\nf<|im_end|>")
    engine = ScriptedEngine(replayed(words))
    done = run(engine, NATURAL, "s1_steps")
    assert done.thinking == "2 steps left\nab\n<|im_start|>1 steps left\ncd\n"
    assert (done.answer, done.thinking_end) == ("\nf", ThinkingEnd.MODEL)


def test_limited_steps_end_thinking_where_none_is_left() -> None:
    engine = ScriptedEngine(replayed(STEPS[: STEPS.index(IDS["0"]) + 1] + ids_of("f<|im_end|>")))
    done = run(engine, replace(NATURAL, is_step_limited=True), "s1_steps")
    assert done.thinking == "2 steps left\nab\n<|im_start|>1 steps left\ncd\n"
    assert (done.thinking_end, done.is_answer_forced) == (ThinkingEnd.CAP, True)
    assert answer_context(engine).endswith("cd\n<|im_start|>answer\nFinal Answer:")


def test_limited_steps_in_a_format_without_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="the policy natural limits steps, which this format"):
        run(ScriptedEngine(replayed([0])), replace(NATURAL, is_step_limited=True))


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
