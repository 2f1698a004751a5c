"""What comes behind the answers: results, and grading anew, for which no Ray is started."""

import json
import shutil
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from s1ray.evaluation.samples import EvaluatedSample, SampleGroup
from s1ray.evaluation.store import read_samples, write_samples
from s1ray.grading.grader import JUDGE_REFUSED
from s1ray.orchestration.answering.evaluate import gather_results, prepare_evaluate, run_evaluate
from s1ray.orchestration.answering.evaluation import run_evaluation
from s1ray.orchestration.run_directory.events import read_events
from s1ray.orchestration.run_directory.runs import finish_run, read_manifest
from s1ray.records import AnswerKind, GradedAnswer, Verdict
from tests.evaluation.builders import make_completion
from tests.orchestration.answering.evaluations import (
    NUM_POLICIES,
    Tiny,
    assert_every_sample_once,
    plan_tiny,
    read_completions,
)
from tests.recipes import compose_tiny
from tests.teacher_server import Teacher, reply, teach


def test_chains_that_would_all_be_the_same_are_refused_before_a_model_is_loaded(
    tiny: Tiny,
) -> None:
    with pytest.raises(ValueError, match="sampling=temperature_1"):
        prepare_evaluate(tiny("budget=rejection"))

    assert plan_tiny(tiny("budget=rejection", "sampling=temperature_1")).policies


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    _forbid_ray(monkeypatch)


def _forbid_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a Ray would be started or used."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("Ray is not needed here")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)


SEVERAL = (
    "evaluation.num_samples=3", "evaluation.pass_at=[1,3]", "evaluation.majority_at=[3]",
    "sampling.temperature=1.0",
)  # fmt: skip


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, ray_head: Path) -> Path:
    """The storage of an evaluation of several samples a question."""
    storage = tmp_path_factory.mktemp("evaluated")
    run_evaluate(prepare_evaluate(compose_tiny(storage, *SEVERAL)))
    return storage


def test_votes_and_licences_stand_in_the_results(tiny: Tiny, evaluated: Path) -> None:
    path = plan_tiny(tiny(*SEVERAL, storage=evaluated)).run.path

    results = json.loads((path / "results.json").read_text(encoding="utf-8"))
    votes = results["votes"]["running_sums/base"]
    assert {(row["policy"], row["size"]) for row in votes} == {
        (name, 3) for name in ("cap_0", "cap_4", "wait_1")
    }
    assert all(0 <= row["majority"] <= 1 for row in votes)
    assert results["benchmarks"]["running_sums"]["licence"] == "generated here, none"
    assert results["cost"]["dollars"] is None


def test_another_grading_takes_over_the_answers_without_ray(
    tiny: Tiny, evaluated: Path, no_ray: None
) -> None:
    first = plan_tiny(tiny(*SEVERAL, storage=evaluated))
    assert read_manifest(first.run.path) is not None

    again = plan_tiny(tiny(*SEVERAL, "grading=s1", storage=evaluated))
    run_evaluation(again)

    assert again.run.name != first.run.name
    assert read_completions(again.run.path) == read_completions(first.run.path)
    verdicts = {sample.graded.verdict for sample in read_samples(again.run.path / "samples.jsonl")}
    assert verdicts <= {Verdict.CORRECT, Verdict.INCORRECT}
    assert_every_sample_once(again)


def test_run_that_was_killed_behind_its_last_sample_needs_no_ray_to_finish(
    tiny: Tiny, evaluated: Path, tmp_path: Path, no_ray: None
) -> None:
    done = plan_tiny(tiny(*SEVERAL, storage=evaluated))
    plan = plan_tiny(tiny(*SEVERAL, storage=tmp_path))
    shutil.copytree(done.run.path, plan.run.path)
    (plan.run.path / "manifest.json").unlink()
    events = plan.run.path / "events.jsonl"
    events.write_bytes(b"".join(events.read_bytes().splitlines(keepends=True)[:-1]))

    run_evaluation(plan)

    assert read_manifest(plan.run.path) is not None
    assert read_completions(plan.run.path) == read_completions(done.run.path)
    assert_every_sample_once(plan)


def test_votes_compare_each_question_by_its_own_kind_of_answer(tiny: Tiny) -> None:
    plan = plan_tiny(tiny("evaluation.num_samples=3", "evaluation.majority_at=[3]"))
    ids = [group.question.id for group in plan.groups if group.sample == 0]
    kinds = dict(zip(ids, (AnswerKind.MATH, AnswerKind.TEXT), strict=False))
    groups = tuple(
        replace(group, question=replace(group.question, answer_kind=kinds[group.question.id]))
        for group in plan.groups
        if group.question.id in kinds
    )
    plan.run.path.mkdir(parents=True)
    write_samples(plan.run.path / "samples.jsonl", map(_answer_a_half, groups))
    finish_run(plan.run, files=["samples.jsonl"], summary={"seconds": 1.0})

    votes = gather_results([replace(plan, groups=groups)])["votes"]["running_sums/base"]

    # Two numbers outvote "9"; as texts all three are different.
    assert [row["majority"] for row in votes] == [pytest.approx((1 + 2 / 3) / 2)]


def _answer_a_half(group: SampleGroup) -> EvaluatedSample:
    extracted = ("1/2", "0.5", "9")[group.sample]
    verdict = Verdict.INCORRECT if extracted == "9" else Verdict.CORRECT
    return EvaluatedSample(
        task=group.task(group.policies[0]),
        question=group.question.text,
        gold=".5",
        completion=make_completion(),
        graded=GradedAnswer(verdict=verdict, extracted=extracted, layer="number"),
    )


def test_dollars_are_the_price_of_the_replicas_devices(tiny: Tiny, evaluated: Path) -> None:
    priced = ("cluster=h100_1x8", "serving.num_gpus=2", "serving.num_replicas=3")
    plan = plan_tiny(tiny(*SEVERAL, *priced, storage=evaluated))
    seconds = (read_manifest(plan.run.path) or {})["summary"]["seconds"]

    cost = gather_results([plan])["cost"]

    rate = plan.recipe.cluster.dollars_per_device_hour
    assert cost["dollars"] == pytest.approx(6 * rate * seconds / 3600)


def _judged_by(judge: Teacher, cache: Path) -> tuple[str, ...]:
    endpoint = "grading.judge.endpoint"
    return (
        "grading=judged", f"{endpoint}.base_url={judge.url}", f"{endpoint}.max_tries=1",
        f"{endpoint}.api_key_variable=null", f"grading.judge.cache={cache}",
    )  # fmt: skip


@pytest.mark.usefixtures("ray_head")
def test_answers_that_no_judge_was_there_for_are_graded_by_the_same_command_without_ray(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_up = threading.Event()

    def answer(question: str, attempt: int) -> object:
        return reply("yes") if is_up.is_set() else (503, {})

    with teach(answer) as judge:
        plan = plan_tiny(tiny(*_judged_by(judge, tmp_path / "cache.jsonl")))
        samples, events = plan.run.path / "samples.jsonl", plan.run.path / "events.jsonl"
        with pytest.raises(RuntimeError, match=r"answers could not be graded, the first: .*503"):
            run_evaluation(plan)
        before, heard = samples.read_bytes(), events.read_bytes()
        num_asked = 4 * NUM_POLICIES
        assert 0 < before.count(b"\n") == heard.count(b"\n") < num_asked
        assert read_manifest(plan.run.path) is None

        is_up.set()
        _forbid_ray(monkeypatch)
        run_evaluation(plan)

    # What a dashboard has followed stands as it was, and the rest came behind it.
    assert samples.read_bytes().startswith(before)
    assert events.read_bytes().startswith(heard)
    assert_every_sample_once(plan)
    assert not (plan.run.path / "ungraded.jsonl").exists()
    told = dict(item for row in read_events(plan.run.path) for item in row.items())
    for point in gather_results([plan])["points"]:
        assert point["verdicts"]["unscored"] == 0
        assert told[f"eval/running_sums/{point['policy']}/accuracy"] == point["accuracy"]


def test_answer_that_the_judge_refuses_alone_counts_as_incorrect_and_the_run_finishes(
    tiny: Tiny, evaluated: Path, tmp_path: Path, no_ray: None
) -> None:
    refused: list[str] = []

    def answer(prompt: str, attempt: int) -> object:
        refused[:] = refused or [prompt]
        return (400, {"error": "content filter"}) if prompt == refused[0] else reply("yes")

    with teach(answer) as judge:
        plan = plan_tiny(
            tiny(*SEVERAL, *_judged_by(judge, tmp_path / "cache.jsonl"), storage=evaluated)
        )
        run_evaluation(plan)

    assert read_manifest(plan.run.path) is not None
    graded = [sample.graded for sample in read_samples(plan.run.path / "samples.jsonl")]
    layers = Counter(answer.layer for answer in graded)
    assert layers["judge"] > 0
    assert layers[JUDGE_REFUSED] > 0
    told = Counter[str]()
    for point in gather_results([plan])["points"]:
        told.update(point["layers"])
    assert told[JUDGE_REFUSED] == layers[JUDGE_REFUSED]
