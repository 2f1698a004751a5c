"""A judge without its key is noticed before anything is trained, generated or graded for it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from s1ray.config.grade import GradeConfig
from s1ray.config.recipe import Recipe
from s1ray.orchestration.answering.evaluate import prepare_evaluate
from s1ray.orchestration.answering.offline import prepare_grade
from s1ray.orchestration.launch import CONF, parse_config
from s1ray.orchestration.reproduce import prepare_reproduce
from s1ray.orchestration.run_directory.runs import finish_run

Tiny = Callable[..., Recipe]
KEY = "S1RAY_NO_SUCH_KEY"
JUDGED = ("grading=judged", f"grading.judge.endpoint.api_key_variable={KEY}")
REFUSED = f"{KEY} is not set"


@pytest.mark.parametrize("target", ["base", "trained"])
def test_evaluation_without_the_judges_key_is_refused(tiny: Tiny, target: str) -> None:
    with pytest.raises(ValueError, match=REFUSED):
        prepare_evaluate(tiny(*JUDGED, f"target={target}"))


def test_reproduction_whose_base_is_evaluated_already_needs_the_key_all_the_same(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "k")
    plan = prepare_reproduce(tiny(*JUDGED))
    plan.base.run.path.mkdir(parents=True)
    finish_run(plan.base.run, files=[], summary={})
    monkeypatch.delenv(KEY)

    with pytest.raises(ValueError, match=REFUSED):
        prepare_reproduce(tiny(*JUDGED))


def test_finished_evaluation_is_shown_without_the_judges_key(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "k")
    plan = prepare_evaluate(tiny(*JUDGED)).evaluation
    assert plan is not None
    plan.run.path.mkdir(parents=True)
    finish_run(plan.run, files=[], summary={})
    monkeypatch.delenv(KEY)

    assert prepare_evaluate(tiny(*JUDGED)).evaluation == plan


def test_grading_without_the_judges_key_is_refused(tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    answers.touch()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose(
            "grade",
            overrides=[
                *JUDGED, f"input={answers}", f"output={tmp_path / 'graded.jsonl'}",
                "fields.text=text", "fields.gold=gold",
            ],
        )  # fmt: skip

    with pytest.raises(ValueError, match=REFUSED):
        prepare_grade(parse_config(composed, GradeConfig))
