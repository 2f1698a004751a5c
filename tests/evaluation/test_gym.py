"""Fresh questions from reasoning-gym, graded as the package itself scores them."""

import sys
from typing import Any

import pytest

from s1ray.config.grading import GymBenchmarkConfig
from s1ray.evaluation.gym import draw_gym_questions
from s1ray.grading.grader import grade_answer
from s1ray.records import Question, Verdict
from tests.choices import read_choice
from tests.grading.settings import read_grading

LAYERED = read_grading("layered")
NEEDS_GYM = pytest.mark.slow
"""Quick, but `make test-slow` is what installs the extra."""


def _config(**changes: Any) -> GymBenchmarkConfig:
    content = read_choice("benchmark", "generated")["generated"]
    return GymBenchmarkConfig.model_validate({**content, **changes})


def _draw(**changes: Any) -> tuple[Question, ...]:
    return draw_gym_questions("generated", _config(**changes))


@NEEDS_GYM
def test_questions_are_the_same_for_a_seed_and_others_for_another() -> None:
    questions = _draw()

    assert len(questions) == 10 * 10
    assert len({question.id for question in questions}) == 100
    assert _draw() == questions
    assert [question.text for question in _draw(seed=1)] != [item.text for item in questions]


@NEEDS_GYM
def test_gold_answers_earn_their_verdict_and_a_wrong_one_does_not() -> None:
    for question in _draw():
        for answer, verdict in ((question.answer, Verdict.CORRECT), ("-77", Verdict.INCORRECT)):
            graded = grade_answer(
                f"So it is.\nFinal Answer: {answer}", gold=question.answer,
                kind=question.answer_kind, config=LAYERED, judge=None,
            )  # fmt: skip
            assert graded.verdict is verdict, (question.id, question.answer)


@NEEDS_GYM
def test_unknown_task_is_refused_with_its_path() -> None:
    with pytest.raises(ValueError, match=r"benchmark\.generated\.tasks\.no_such"):
        _draw(tasks={"no_such": {"answer_kind": "integer", "params": {}}})


def test_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)

    with pytest.raises(ValueError, match=r"s1ray\[gym\]"):
        draw_gym_questions("generated", _config())
