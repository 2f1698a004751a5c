"""The evaluation suite: what it counts, on files and on a small measurement of the grader."""

import signal
from pathlib import Path

import psutil
import pytest
from omegaconf import OmegaConf

from s1ray.config.suites.evaluation import EvaluationSettings
from s1ray.config.tracking import PathsConfig
from s1ray.grading.grader import grade_answer
from s1ray.orchestration.composing import compose_config, spell_paths
from s1ray.records import Verdict
from s1ray.suites.evaluation.grading import make_items, measure_grading
from s1ray.suites.evaluation.job import EvaluationJob, open_job
from s1ray.suites.evaluation.journal import (
    BEGUN,
    FINISHED,
    count_again,
    find_replicas,
    plan_recipe,
)
from s1ray.suites.evaluation.kills import measure_kills


def _settings(*overrides: str) -> EvaluationSettings:
    composed = compose_config("suites", ["suite=evaluation", *overrides])
    return EvaluationSettings.model_validate(OmegaConf.to_container(composed.suite, resolve=True))


def test_suite_measures_in_pairs_enough_for_an_interval() -> None:
    assert _settings().num_pairs >= 5


@pytest.mark.parametrize("name", ["replicas", "kills", "stream"])
def test_recipes_of_the_suite_can_be_planned(name: str, tmp_path: Path) -> None:
    overrides = [*getattr(_settings(), name), *spell_paths(storage=tmp_path, cache=None)]

    assert plan_recipe(overrides).groups


def test_journal_counts_what_was_done_more_than_once(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.write_text("up 11\nbegun a\nbegun b\nfinished a\nup 22\nbegun b\nbegun b\nfinished b\n")

    assert count_again(journal, BEGUN) == 2
    assert count_again(journal, FINISHED) == 0
    assert find_replicas(journal) == [11, 22]


def test_job_that_fails_says_why_in_its_own_words(tmp_path: Path) -> None:
    with (
        open_job(tmp_path, ["training.nothing=1"], wait_seconds=100) as job,
        pytest.raises(RuntimeError, match=r"ended with 1: rows has 0 of 1(.|\n)*nothing"),
    ):
        job.wait_for_rows(tmp_path / "rows", 1)


def test_job_that_does_not_end_is_ended_with_its_block(tmp_path: Path) -> None:
    jobs: list[EvaluationJob] = []

    with (
        pytest.raises(RuntimeError, match=r"runs after 0\.01 s: it does not end"),
        open_job(tmp_path, ["experiment=tiny"], wait_seconds=0.01) as job,
    ):
        jobs.append(job)
        job.wait()

    assert jobs[0].process.returncode == -signal.SIGKILL


def test_kills_end_what_they_started_where_a_job_comes_too_late() -> None:
    paths = PathsConfig(storage="runs", cache=None)
    before = psutil.Process().children()

    with pytest.raises(RuntimeError, match=r"samples.jsonl has 0 of \d+ rows. It printed last"):
        measure_kills(_settings("suite.wait_seconds=0.01"), paths)

    assert set(psutil.Process().children()) <= set(before)


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

    results = measure_grading(settings, PathsConfig(storage="runs", cache=None)).results

    assert results["answers_per_second"]["clean"]["median"] > 0
    assert results["poisoned_over_clean"]["median"] > 0
