"""Evaluations on a real Serve: nothing is lost or doubled when a part of them is killed."""

import csv
import json
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from ray import serve

from s1ray.config.recipe import Recipe
from s1ray.evaluation.samples import EvaluatedSample, SampleGroup, SampleTask
from s1ray.evaluation.store import read_samples, write_samples
from s1ray.grading.grader import JUDGE_REFUSED
from s1ray.orchestration.answering.evaluate import gather_results, prepare_evaluate, run_evaluate
from s1ray.orchestration.answering.evaluation import EvaluationPlan, run_evaluation
from s1ray.orchestration.cluster.session import ROOT
from s1ray.orchestration.dashboard.sink import LOCK
from s1ray.orchestration.run_directory.attempts import read_attempts
from s1ray.orchestration.run_directory.events import read_events
from s1ray.orchestration.run_directory.runs import finish_run, read_manifest
from s1ray.records import AnswerKind, Completion, GradedAnswer, Verdict
from s1ray.reporting.html import build_report
from s1ray.reporting.reading.records import Companions
from s1ray.suites.evaluation.journal import find_replicas, note_in
from s1ray.suites.evaluation.record import is_event, read_history
from tests.evaluation.builders import make_completion
from tests.orchestration.processes import count_lines, kill, running
from tests.recipes import compose_tiny
from tests.teacher_server import Teacher, reply, teach
from tests.waiting import wait_until

Tiny = Callable[..., Recipe]


NUM_POLICIES = 3


def _plan(recipe: Recipe) -> EvaluationPlan:
    plan = prepare_evaluate(recipe).evaluation
    assert plan is not None
    return plan


def test_chains_that_would_all_be_the_same_are_refused_before_a_model_is_loaded(
    tiny: Tiny,
) -> None:
    with pytest.raises(ValueError, match="sampling=temperature_1"):
        prepare_evaluate(tiny("budget=rejection"))

    assert _plan(tiny("budget=rejection", "sampling=temperature_1")).policies


def _read(path: Path) -> dict[SampleTask, Completion]:
    return {sample.task: sample.completion for sample in read_samples(path / "samples.jsonl")}


def _assert_every_sample_once(plan: EvaluationPlan) -> None:
    """The store itself refuses a file in which a sample stands twice."""
    asked = {group.task(policy) for group in plan.groups for policy in group.policies}
    assert set(_read(plan.run.path)) == asked
    steps = [row["global_step"] for row in read_events(plan.run.path)]
    assert steps == list(range(1, len(asked) + 1))


def _questions(count: int) -> str:
    return f"benchmark.running_sums.num_questions={count}"


@pytest.mark.slow
@pytest.mark.usefixtures("ray_head")
def test_replica_killed_in_the_middle_costs_no_sample_and_changes_none(
    tiny: Tiny, tmp_path: Path
) -> None:
    settings = [
        _questions(100), "serving.num_replicas=2", "serving.groups_per_replica=4",
        "serving.health_check_seconds=1",
    ]  # fmt: skip
    whole = _plan(tiny(*settings, storage=tmp_path / "whole"))
    run_evaluation(whole)
    plan = _plan(tiny(*settings, storage=tmp_path / "killed"))
    journal, killed = tmp_path / "journal", list[int]()

    def kill_one() -> None:
        wait_until(lambda: count_lines(plan.run.path / "samples.jsonl") >= 60)
        killed.append(find_replicas(journal)[0])
        kill(killed[0])

    killer = threading.Thread(target=kill_one)
    killer.start()
    run_evaluation(plan, replica=note_in(journal))
    killer.join()

    assert len(killed) == 1
    _assert_every_sample_once(plan)
    assert _read(plan.run.path) == _read(whole.run.path)


def _evaluate(storage: Path, *overrides: str) -> "AbstractContextManager[subprocess.Popen[bytes]]":
    command = [
        sys.executable, "-m", "jobs.evaluate", "experiment=tiny", f"paths.storage={storage}",
        *overrides,
    ]  # fmt: skip
    return running(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_driver_killed_at_80_percent_goes_on_with_the_rest_and_its_sink_too(
    tiny: Tiny, tmp_path: Path
) -> None:
    overrides = (_questions(200), "tracking.mode=offline")
    plan = _plan(tiny(*overrides, storage=tmp_path))
    samples, total = plan.run.path / "samples.jsonl", 200 * NUM_POLICIES

    with _evaluate(tmp_path, *overrides) as job:
        wait_until(lambda: count_lines(samples) >= total * 0.4, process=job)
        kill(int((plan.run.path / LOCK).read_text(encoding="utf-8")))
        wait_until(lambda: count_lines(samples) >= total * 0.8, process=job)
    before, num_events = samples.read_bytes(), count_lines(plan.run.path / "events.jsonl")
    assert before.count(b"\n") < total
    with _evaluate(tmp_path, *overrides) as job:
        assert job.wait() == 0

    assert samples.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    _assert_every_sample_once(plan)
    [record] = plan.run.path.glob("wandb/offline-run-*/run-*.wandb")
    rows = read_history(record)
    steps = [row["global_step"] for row in rows if is_event(row)]
    assert steps == list(range(1, total + 1))
    tables = [row["samples.nrows"] for row in rows if not is_event(row)]
    assert sum(tables) == total
    _assert_both_attempts_are_paid(plan.run.path, num_events=num_events)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_head")
def test_job_killed_on_a_ray_that_lives_on_leaves_no_replica_there(
    tiny: Tiny, tmp_path: Path
) -> None:
    plan = _plan(tiny(_questions(2000), storage=tmp_path))
    address = ray.get_runtime_context().gcs_address

    with _evaluate(
        tmp_path, _questions(2000), f"ray.address={address}", "serving.health_check_seconds=1"
    ) as job:
        wait_until(lambda: count_lines(plan.run.path / "samples.jsonl") > 0, process=job)
        assert plan.run.name in serve.status().applications

    wait_until(lambda: plan.run.name not in serve.status().applications)


def _assert_both_attempts_are_paid(path: Path, *, num_events: int) -> None:
    """A killed attempt costs at least the time between its first event and its last."""
    killed, last = (attempt.seconds or 0.0 for attempt in read_attempts(path))
    times = [row["time"] for row in read_events(path)]
    assert killed >= times[num_events - 1] - times[0]
    results = json.loads((path / "results.json").read_text(encoding="utf-8"))
    assert results["cost"]["seconds"] == pytest.approx(killed + last, abs=0.5)


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
    path = _plan(tiny(*SEVERAL, storage=evaluated)).run.path

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
    first = _plan(tiny(*SEVERAL, storage=evaluated))
    assert read_manifest(first.run.path) is not None

    again = _plan(tiny(*SEVERAL, "grading=s1", storage=evaluated))
    run_evaluation(again)

    assert again.run.name != first.run.name
    assert _read(again.run.path) == _read(first.run.path)
    verdicts = {sample.graded.verdict for sample in read_samples(again.run.path / "samples.jsonl")}
    assert verdicts <= {Verdict.CORRECT, Verdict.INCORRECT}
    _assert_every_sample_once(again)


def test_run_that_was_killed_behind_its_last_sample_needs_no_ray_to_finish(
    tiny: Tiny, evaluated: Path, tmp_path: Path, no_ray: None
) -> None:
    done = _plan(tiny(*SEVERAL, storage=evaluated))
    plan = _plan(tiny(*SEVERAL, storage=tmp_path))
    shutil.copytree(done.run.path, plan.run.path)
    (plan.run.path / "manifest.json").unlink()
    events = plan.run.path / "events.jsonl"
    events.write_bytes(b"".join(events.read_bytes().splitlines(keepends=True)[:-1]))

    run_evaluation(plan)

    assert read_manifest(plan.run.path) is not None
    assert _read(plan.run.path) == _read(done.run.path)
    _assert_every_sample_once(plan)


def test_votes_compare_each_question_by_its_own_kind_of_answer(tiny: Tiny) -> None:
    plan = _plan(tiny("evaluation.num_samples=3", "evaluation.majority_at=[3]"))
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
    plan = _plan(tiny(*SEVERAL, *priced, storage=evaluated))
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
        plan = _plan(tiny(*_judged_by(judge, tmp_path / "cache.jsonl")))
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
    _assert_every_sample_once(plan)
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
        plan = _plan(
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


NO_COMPANIONS = Companions(comparators=(), published=(), compare=lambda _: (), predict=lambda _: ())
PLANTED = "zyxomma quandary of the planted heptagon"


def test_private_question_is_found_in_no_file_of_a_run_nor_in_a_log(
    ray_head: Path,
    tiny: Tiny,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = tmp_path / "gpqa.csv"
    names = [
        "Record ID",
        "Question",
        "Correct Answer",
        *(f"Incorrect Answer {n}" for n in (1, 2, 3)),
    ]
    with source.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(names)
        rows.writerow(["rec1", f"Which {PLANTED}?", *(f"{PLANTED} {n}" for n in range(4))])
        rows.writerow(["rec2", f"Too long: {PLANTED * 90}", *(f"{PLANTED} {n}" for n in range(4))])
    recipe = tiny(
        "benchmark=[gpqa_diamond]", f"benchmark.gpqa_diamond.path={source}",
        "tracking.mode=offline", "tracking.table_rows=1", "evaluation.runtime.retry_seconds=0",
        storage=tmp_path / "runs",
    )  # fmt: skip
    plan = _plan(recipe)

    # The second question does not fit the context window, and its failure is told, too.
    with pytest.raises(RuntimeError, match="could not be generated") as failed:
        run_evaluation(plan)

    assert len(_read(plan.run.path)) == NUM_POLICIES
    captured = capfd.readouterr()
    told = captured.out + captured.err + caplog.text + str(failed.value)
    assert PLANTED not in told
    files = [path for root in (tmp_path / "runs", ray_head / "logs") for path in root.rglob("*")]
    assert sum(path.is_file() for path in files) > 10
    for path in filter(Path.is_file, files):
        assert PLANTED.encode() not in path.read_bytes(), path

    # Nor on the page, where a model's thinking and answer quote the question.
    samples = plan.run.path / "samples.jsonl"
    write_samples(samples, [_quote(sample) for sample in read_samples(samples)])
    assert PLANTED in samples.read_text(encoding="utf-8")
    build_report(
        [plan.run.path],
        labels=None,
        companions=NO_COMPANIONS,
        output=tmp_path / "page" / "report.html",
        config=recipe.report,
    )
    for path in filter(Path.is_file, (tmp_path / "page").rglob("*")):
        assert PLANTED.encode() not in path.read_bytes(), path


def _quote(sample: EvaluatedSample) -> EvaluatedSample:
    quoting = replace(sample.completion, thinking=PLANTED, answer=f"So: {PLANTED}")
    return replace(sample, completion=quoting)
