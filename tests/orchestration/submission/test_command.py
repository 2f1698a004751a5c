import shlex

import pytest

from s1ray.orchestration.submission.command import read_command, split_arguments
from s1ray.planning.manifests import LABEL

TRAIN = "python -m jobs.train experiment=tiny"


def _name(command: str) -> str:
    return read_command(shlex.split(command)).name


def test_the_words_behind_the_dashes_are_the_command() -> None:
    own, words = split_arguments(["submit.py", "target=ray", "--dry", "--", "ls", "--stop", "--"])

    assert own == ["submit.py", "target=ray", "dry=true"]
    assert words == ["ls", "--stop", "--"]


def test_without_dashes_there_is_no_command() -> None:
    assert split_arguments(["submit.py", "--stop"]) == (["submit.py", "stop=true"], [])


def test_a_jobs_name_is_its_stage_its_experiment_and_a_hash() -> None:
    job, slug, digest = _name(TRAIN).split("-")

    assert (job, slug) == ("train", "tiny")
    assert len(digest) == 8


@pytest.mark.parametrize(
    "same",
    [
        f"{TRAIN} ",
        f"{TRAIN} training.seed=42",  # as it is
        f"{TRAIN} sharding=cpu1",
        f"{TRAIN} tracking.mode=offline ray.max_failures=1",
        f"{TRAIN} cluster=h200_1x1",
    ],
)
def test_what_changes_no_result_changes_no_name(same: str) -> None:
    assert _name(same) == _name(TRAIN)


@pytest.mark.parametrize("job", ["plan", "doctor"])
def test_a_job_that_asks_about_a_cluster_has_a_name_for_each(job: str) -> None:
    clusters = ("h200_1x1", "h100_1x8", "h100_2x8_8x400g")

    names = {_name(f"python -m jobs.{job} cluster={cluster}") for cluster in clusters}

    assert len(names) == len(clusters)


@pytest.mark.parametrize(
    "other",
    [
        f"{TRAIN} training.seed=43",
        f"{TRAIN} paths.storage=/elsewhere",
        "python -m jobs.evaluate experiment=tiny",
        "python -m jobs.train experiment=demo",
        "python train.py experiment=tiny",
    ],
)
def test_another_run_has_another_name(other: str) -> None:
    assert _name(other) != _name(TRAIN)


@pytest.mark.parametrize("job", ["reproduce experiment=s1_1_32b", "verify_resume experiment=tiny"])
def test_the_name_is_one_that_kubernetes_takes(job: str) -> None:
    name = _name(f"python -m jobs.{job}")

    assert LABEL.fullmatch(name)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("python -m jobs.trian experiment=tiny", "no jobs.trian"),
        (f"{TRAIN} +typo=1", "typo"),
        (f"{TRAIN} training.num_epochs=0", "training.num_epochs"),
        ("python -m jobs.train experiment=nothing", "nothing"),
        (f"{TRAIN} --multirun", "--multirun"),
        ("python -m jobs.report", "runs"),
        ("python -m jobs.doctor patience_seconds=abc", "patience_seconds='abc'"),
        ("python -m jobs.benchmark suite=nothing", "nothing"),
    ],
)
def test_a_job_that_would_fail_at_once_is_refused(command: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_command(shlex.split(command))
