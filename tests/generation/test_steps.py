"""Steps that the model counts down, and what ends them."""

from dataclasses import replace

import pytest

from s1ray.records import ThinkingEnd
from tests.generation.forced_chains import NATURAL, answer_context, run
from tests.generation.scripted_engines import IDS, ScriptedEngine, ids_of, replayed

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
