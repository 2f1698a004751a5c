"""The evaluation suite: what it counts, on files and on a small measurement of the grader."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from s1ray.config.suites.evaluation import EvaluationSettings
from s1ray.grading.grader import grade_answer
from s1ray.orchestration.launch import CONF
from s1ray.records import Verdict
from s1ray.suites.evaluation.grading import make_items, measure_grading
from s1ray.suites.evaluation.journal import (
    BEGUN,
    FINISHED,
    count_again,
    find_replicas,
    plan_recipe,
)


def _settings(*overrides: str) -> EvaluationSettings:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("suites", overrides=["suite=evaluation", *overrides])
    return EvaluationSettings.model_validate(OmegaConf.to_container(composed.suite, resolve=True))


def test_suite_measures_in_pairs_enough_for_an_interval() -> None:
    assert _settings().num_pairs >= 5


@pytest.mark.parametrize("name", ["replicas", "kills", "stream"])
def test_recipes_of_the_suite_can_be_planned(name: str, tmp_path: Path) -> None:
    overrides = (*getattr(_settings(), name), f"paths.storage={tmp_path}")

    assert plan_recipe(overrides).groups


def test_journal_counts_what_was_done_more_than_once(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.write_text("up 11\nbegun a\nbegun b\nfinished a\nup 22\nbegun b\nbegun b\nfinished b\n")

    assert count_again(journal, BEGUN) == 2
    assert count_again(journal, FINISHED) == 0
    assert find_replicas(journal) == [11, 22]


def test_items_are_right_answers_of_which_every_third_needs_algebra() -> None:
    config = _settings().grading

    graded = [
        grade_answer(item.text, gold=item.gold, kind=item.kind, config=config, judge=None)
        for item in make_items(30)
    ]

    assert {answer.verdict for answer in graded} == {Verdict.CORRECT}
    assert [answer.layer for answer in graded].count("math_verify") == 10


def test_grading_is_measured_beside_a_poisoned_answer() -> None:
    settings = _settings(
        "suite.num_pairs=1", "suite.num_graded=30", "suite.grading.pool.deadline_seconds=1.0"
    )

    results = measure_grading(settings).results

    assert results["answers_per_second"]["clean"]["median"] > 0
    assert results["poisoned_over_clean"]["median"] > 0
