"""The grader against stored verdicts of real systems; every disagreement is known by name."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from s1ray.config.grade import GradeFields
from s1ray.grading.grader import grade_answer
from s1ray.grading.regrade import RegradeReport
from s1ray.records import AnswerKind, Verdict
from tests.grading.settings import read_grading, regrade_file
from tests.reference_data import find_reference

STORED = read_grading("stored")
KNOWN: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parent / "disagreements.json").read_text(encoding="utf-8")
)
GSM8K = "gsm8k_openai_4_models"
SYSTEMS = ["6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"]
NEMO = ["nemo_output_rs0", "nemo_output_rs1", "nemo_output_rs2"]


def regrade_shared(file: str, tmp_path: Path, **fields: str | None) -> RegradeReport:
    names = {"id": None, "answer_kind": None, **fields}
    return regrade_file(
        find_reference(f"graded_outputs/{file}.jsonl.gz"),
        tmp_path / "out.jsonl.gz",
        fields=GradeFields.model_validate(names),
        config=STORED,
        max_pending=256,
    )


def assert_known(report: RegradeReport, name: str) -> None:
    found = [(d.row, d.id, d.stored_correct) for d in report.disagreements]
    assert found == [(k["row"], k["id"], k["stored_correct"]) for k in KNOWN[name]]


@pytest.mark.parametrize("system", SYSTEMS)
def test_gsm8k_systems_agree_to_995_per_mille(system: str, tmp_path: Path) -> None:
    report = regrade_shared(
        GSM8K,
        tmp_path,
        text=f"{system}.solution",
        gold="ground_truth",
        verdict=f"{system}.is_correct",
    )
    assert report.num_compared == 1319
    assert report.agreement is not None
    assert report.agreement >= 0.995
    assert_known(report, f"{GSM8K}/{system}")


def test_nemo_files_agree_to_98_percent(tmp_path: Path) -> None:
    reports = {
        name: regrade_shared(
            name,
            tmp_path,
            text="generation",
            gold="expected_answer",
            id="id",
            verdict="symbolic_correct",
        )
        for name in NEMO
    }
    compared = sum(report.num_compared for report in reports.values())
    differing = sum(len(report.disagreements) for report in reports.values())
    assert compared == 150
    assert 1 - differing / compared >= 0.98
    for name, report in reports.items():
        assert_known(report, name)


def test_every_known_disagreement_is_explained() -> None:
    assert set(KNOWN) == {f"{GSM8K}/{system}" for system in SYSTEMS} | set(NEMO)
    for entries in KNOWN.values():
        for entry in entries:
            assert entry["right"] in ("ours", "stored")
            assert 10 < len(entry["why"]) < 200


def test_math500_solutions_earn_their_own_gold_answers() -> None:
    rows = read_rows("eval/math500.jsonl.gz")
    verdicts = [
        grade_answer(
            row["solution"], gold=row["answer"], kind=AnswerKind.MATH, config=STORED, judge=None
        ).verdict
        for row in rows
    ]
    assert verdicts == [Verdict.CORRECT] * 500


def test_numeric_tasks_of_reasoning_gym_agree_where_the_score_is_exact() -> None:
    tasks = {"chain_sum", "gcd", "lcm", "leg_counting", "gsm_symbolic", "products"}
    rows = [
        row
        for row in read_rows("graded_outputs/reasoning_gym_easy_qwq32b.jsonl.gz")
        if row["task"] in tasks
    ]
    assert len(rows) == 900
    differing = [
        (row["task"], row["idx"], row["sample"])
        for row in rows
        if (grade_gym(row) is Verdict.CORRECT) is not (row["score"] == 1)
    ]
    assert differing == []


def grade_gym(row: dict[str, Any]) -> Verdict:
    return grade_answer(
        row["response"] or "",
        gold=str(row["expected"]),
        kind=AnswerKind.INTEGER,
        config=STORED,
        judge=None,
    ).verdict


def read_rows(name: str) -> list[dict[str, Any]]:
    text = gzip.decompress(find_reference(name).read_bytes()).decode()
    return [json.loads(line) for line in text.split("\n") if line]
