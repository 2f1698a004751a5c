"""Private questions: none is found in a file of a run, in a log or on a page."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from s1ray.evaluation.samples import EvaluatedSample
from s1ray.evaluation.store import read_samples, write_samples
from s1ray.orchestration.answering.evaluation import run_evaluation
from s1ray.reporting.html import build_report
from tests.orchestration.answering.evaluations import (
    NUM_POLICIES,
    Tiny,
    plan_tiny,
    read_completions,
)
from tests.reporting.pages import NO_COMPANIONS

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
    plan = plan_tiny(recipe)

    # The second question does not fit the context window, and its failure is told, too.
    with pytest.raises(RuntimeError, match="could not be generated") as failed:
        run_evaluation(plan)

    assert len(read_completions(plan.run.path)) == NUM_POLICIES
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
