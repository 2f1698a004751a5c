"""Traces of a teacher over real HTTP, through its faults and across a kill."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s1ray.config.recipe import Recipe
from s1ray.curation.traces import read_traces
from s1ray.orchestration.cluster.session import ROOT
from s1ray.orchestration.training_data.curate import prepare_curate, run_curate
from s1ray.orchestration.training_data.distill import prepare_distill, run_distill
from tests.orchestration.training_data.sums import add_terms
from tests.teacher_server import CUT, reply, teach

ENDPOINT = (
    "endpoint=openrouter",
    "endpoint.api_key_variable=null",
    "endpoint.model=wise",
    "endpoint.backoff_seconds=0.001",
    "endpoint.max_backoff_seconds=0.002",
    "endpoint.max_concurrency=3",
    "endpoint.max_tries=4",
    "endpoint.usd_per_million_prompt_tokens=1",
    "endpoint.usd_per_million_completion_tokens=10",
)
USD = (10 * 1 + 100 * 10) / 1e6
"""Of one reply of ``teacher_server.reply``."""

Compose = Callable[..., Recipe]


def _answer_rightly(question: str, _: int) -> dict[str, Any]:
    return reply(f"Final Answer: {add_terms(question)}", reasoning_content=f"I add: {question}")


def _distill(recipe: Recipe) -> tuple[Path, dict[str, Any]]:
    path = run_distill(prepare_distill(recipe))
    return path, json.loads((path / "costs.json").read_text(encoding="utf-8"))


def test_traces_hold_thinking_answer_and_grade_and_serve_training(tiny: Compose) -> None:
    with teach(_answer_rightly) as teacher:
        recipe = tiny(*ENDPOINT, f"endpoint.base_url={teacher.url}")
        path, costs = _distill(recipe)

    traces = read_traces(path / "traces.jsonl")
    assert len(traces) == costs["traces"] == costs["correct"] == 10
    assert {trace.teacher for trace in traces} == {"wise"}
    assert all(trace.thinking == f"I add: {trace.question.text}" for trace in traces)
    assert all(trace.is_correct for trace in traces)
    assert costs["cost_usd"] == pytest.approx(10 * USD)
    assert costs["usd_per_trace"] == pytest.approx(USD)
    assert set(teacher.asked.values()) == {1}


def test_busy_failing_and_cut_replies_are_asked_for_again(tiny: Compose) -> None:
    faults = [(429, {"error": "busy"}), (500, {"error": "down"}), CUT]

    def answer(question: str, attempt: int) -> Any:
        return faults[attempt] if attempt < 3 else _answer_rightly(question, attempt)

    with teach(answer) as teacher:
        path, costs = _distill(tiny(*ENDPOINT, f"endpoint.base_url={teacher.url}"))

    assert len(read_traces(path / "traces.jsonl")) == 10
    assert costs["tries"] == 40
    assert costs["cost_usd"] == pytest.approx(10 * USD)


def test_thinking_in_tags_is_separated_and_what_was_cut_is_left_out(tiny: Compose) -> None:
    def answer(question: str, _: int) -> Any:
        if int(add_terms(question)) > 5:
            return reply("<think>this never en", finish="length")
        return reply(f"<think>\nhm\n</think>\n\nFinal Answer: {add_terms(question)}")

    with teach(answer) as teacher:
        path, costs = _distill(tiny(*ENDPOINT, f"endpoint.base_url={teacher.url}"))

    cut = [question for question in teacher.asked if int(add_terms(question)) > 5]
    traces = read_traces(path / "traces.jsonl")
    assert costs["left_out"] == {"no_answer": len(cut)}
    assert 0 < len(cut) < 10
    assert {(trace.thinking, trace.is_correct) for trace in traces} == {("hm", True)}
    assert all(trace.question.text not in cut for trace in traces)


def test_wrong_answers_are_kept_as_s1_does_or_filtered(tiny: Compose) -> None:
    def answer(question: str, _: int) -> Any:
        wrong = max(5, int(add_terms(question)))
        return reply(f"Final Answer: {wrong}", reasoning_content="hm")

    with teach(answer) as teacher:
        where = f"endpoint.base_url={teacher.url}"
        path, all_kept = _distill(tiny(*ENDPOINT, where))
        filtered, costs = _distill(tiny(*ENDPOINT, where, "distillation=correct"))

    assert all_kept["traces"] == 10
    assert costs["traces"] == all_kept["correct"] == len(read_traces(filtered / "traces.jsonl"))
    assert costs["left_out"] == {"incorrect": all_kept["incorrect"]}
    assert filtered != path
    # Another filter is another run, and asks nothing again.
    assert (costs["asked_now"], costs["remembered"]) == (0, 10)
    assert set(teacher.asked.values()) == {1}


def test_a_larger_set_asks_only_the_questions_that_are_new(tiny: Compose) -> None:
    with teach(_answer_rightly) as teacher:
        where = f"endpoint.base_url={teacher.url}"
        _distill(tiny(*ENDPOINT, where, "selection.num_questions=4"))
        _, costs = _distill(tiny(*ENDPOINT, where, "selection.num_questions=9"))

    assert (costs["asked_now"], costs["remembered"]) == (5, 4)
    assert set(teacher.asked.values()) == {1}


def test_spending_stops_at_the_cap_and_goes_on_from_there_when_it_is_raised(
    tiny: Compose,
) -> None:
    with teach(_answer_rightly) as teacher:
        where = f"endpoint.base_url={teacher.url}"
        cap = f"endpoint.max_cost_usd={4 * USD}"
        with pytest.raises(RuntimeError, match="max_cost_usd"):
            _distill(tiny(*ENDPOINT, where, cap))
        num_asked = teacher.asked.total()
        # The cap counts what earlier jobs spent.
        with pytest.raises(RuntimeError, match="max_cost_usd"):
            _distill(tiny(*ENDPOINT, where, cap))
        assert teacher.asked.total() == num_asked
        _, costs = _distill(tiny(*ENDPOINT, where))

    assert 4 <= num_asked <= 4 + 3 - 1
    assert costs["traces"] == 10
    assert set(teacher.asked.values()) == {1}


def test_a_question_that_is_refused_fails_alone_and_a_rerun_asks_it_again(tiny: Compose) -> None:
    refused: list[str] = []

    def answer(question: str, attempt: int) -> Any:
        if not refused or (refused[0] == question and attempt == 0):
            refused[:] = [question]
            return (400, {"error": "content policy"})
        return _answer_rightly(question, attempt)

    with teach(answer) as teacher:
        recipe = tiny(*ENDPOINT, f"endpoint.base_url={teacher.url}")
        with pytest.raises(RuntimeError, match=r"1 of 10 questions were not answered"):
            _distill(recipe)
        _, costs = _distill(recipe)

    assert (costs["asked_now"], costs["remembered"], costs["traces"]) == (1, 9, 10)


def test_questions_come_from_a_file_as_well(tiny: Compose, tmp_path: Path) -> None:
    question = {
        "id": "q1", "text": "What is 2 + 2?", "answer": "4", "answer_kind": "integer",
        "source": "mine", "domain": None, "solution": None,
    }  # fmt: skip
    questions = tmp_path / "questions.jsonl"
    questions.write_text(json.dumps({"question": question}) + "\n", encoding="utf-8")

    with teach(_answer_rightly) as teacher:
        where = f"endpoint.base_url={teacher.url}"
        path, _ = _distill(tiny(*ENDPOINT, where, f"questions={questions}"))

    (trace,) = read_traces(path / "traces.jsonl")
    assert (trace.question.id, trace.is_correct) == ("q1", True)


def test_a_teachers_traces_are_a_pool_to_select_from(tiny: Compose) -> None:
    def answer(question: str, _: int) -> Any:
        thinking = "hm " * int(add_terms(question)) if int(add_terms(question)) > 5 else "hm"
        return reply(f"Final Answer: {add_terms(question)}", reasoning_content=thinking)

    with teach(answer) as teacher:
        path, _ = _distill(tiny(*ENDPOINT, f"endpoint.base_url={teacher.url}"))
    recipe = tiny(
        "pool=distilled", f"pool.root={path}", "selection=longest", "selection.num_questions=3",
        "selection.length=thinking_words", "quality=s1",
    )  # fmt: skip
    chosen = run_curate(prepare_curate(recipe))

    distilled = read_traces(path / "traces.jsonl")
    selected = read_traces(chosen / "selected.jsonl")
    lengths = sorted((len(trace.thinking) for trace in distilled), reverse=True)
    assert [len(trace.thinking) for trace in selected] == lengths[:3]
    assert {trace.question.source for trace in selected} == {"running_sums"}
    assert all(trace.teacher == "wise" and trace.is_correct for trace in selected)
    (source,) = json.loads((chosen / "card.json").read_text(encoding="utf-8"))["sources"]
    assert source["origin"] == "distilled from a teacher"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("endpoint.api_key_variable=S1RAY_NO_SUCH_KEY", "S1RAY_NO_SUCH_KEY is not set"),
        ("teacher_budget.max_thinking_tokens=[1,2]", "a grid of 2 policies"),
        ("questions=gone.jsonl", "gone.jsonl"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is(
    tiny: Compose, override: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        prepare_distill(tiny(*ENDPOINT, override))


@pytest.mark.slow
def test_a_killed_job_goes_on_without_asking_twice(tmp_path: Path) -> None:
    gate = threading.Event()
    gate.set()
    num_before = 12

    def answer(question: str, attempt: int) -> Any:
        with teacher.changed:
            if teacher.asked.total() > num_before:
                gate.clear()
        gate.wait(60)
        return _answer_rightly(question, attempt)

    storage = tmp_path / "runs"
    command = [
        sys.executable, "-m", "jobs.distill", "experiment=tiny", *ENDPOINT,
        f"paths.storage={storage}", "pool.sources.running_sums.num_questions=60",
        "selection.num_questions=30",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with teach(answer) as teacher:
        command.append(f"endpoint.base_url={teacher.url}")
        job = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
        with teacher.changed:
            assert teacher.changed.wait_for(lambda: teacher.asked.total() > num_before, 120)
        job.send_signal(signal.SIGKILL)
        job.wait()
        (replies,) = storage.glob("replies/*/replies.jsonl")
        kept = replies.read_bytes().count(b"\n")
        num_before = 10**6
        gate.set()
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip())
    costs = json.loads((path / "costs.json").read_text(encoding="utf-8"))
    assert kept >= 12 - 3
    assert (costs["remembered"], costs["asked_now"], costs["traces"]) == (kept, 30 - kept, 30)
    # Only what was under way when the job died may have been asked twice.
    assert teacher.asked.total() - 30 <= 3 + 1
    assert len(read_traces(path / "traces.jsonl")) == 30
