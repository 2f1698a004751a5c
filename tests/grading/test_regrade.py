import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest

from s1ray.config.grade import GradeFields
from s1ray.grading.regrade import RegradeReport
from s1ray.records import Verdict
from tests.grading.settings import read_grading, regrade_file

STORED = read_grading("stored", num_workers=1)
ROWS: list[dict[str, Any]] = [
    {"out": {"text": "#### 42"}, "gold": "6 * 7 = 42\nA: 42", "ok": True},
    {"out": {"text": r"\boxed{1/2}"}, "gold": r"\frac{1}{2}", "ok": 0.0},
    {"out": {"text": None}, "gold": "5", "ok": "no_answer"},
    {"out": {"text": "Answer: 4"}, "gold": None, "ok": None},
    {"out": {"text": "Answer: 7\u2028!"}, "gold": "7\u2028!", "ok": "unscored"},
]


def run(tmp_path: Path, rows: list[dict[str, Any]], **changes: Any) -> RegradeReport:
    source = tmp_path / "in.jsonl"
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    source.write_text(text, encoding="utf-8")
    names = {"text": "out.text", "gold": "gold", "id": None, "answer_kind": None, "verdict": "ok"}
    output = changes.pop("output_path", tmp_path / "deep" / "out.jsonl")
    fields = GradeFields.model_validate({**names, **changes})
    return regrade_file(source, output, fields=fields, config=STORED)


def regrade_plain(source: Path, output: Path) -> RegradeReport:
    fields = GradeFields(text="text", gold="gold", id=None, answer_kind=None, verdict=None)
    return regrade_file(source, output, fields=fields, config=STORED)


def test_rows_come_back_with_verdict_layer_and_extracted(tmp_path: Path) -> None:
    report = run(tmp_path, ROWS)
    lines = (tmp_path / "deep" / "out.jsonl").read_text(encoding="utf-8").split("\n")
    written = [json.loads(line) for line in lines if line]
    assert [row["verdict"] for row in written] == [
        "correct",
        "correct",
        "no_answer",
        "gold_error",
        "correct",
    ]
    assert [row["layer"] for row in written] == ["integer", "number", None, None, "string"]
    assert [row["extracted"] for row in written] == ["42", "1/2", None, None, "7\u2028!"]
    assert [{key: row[key] for key in ("out", "gold", "ok")} for row in written] == ROWS
    assert report.num_rows == 5
    assert report.verdicts["correct"] == 3
    assert list((tmp_path / "deep").iterdir()) == [tmp_path / "deep" / "out.jsonl"]


def test_disagreements_with_a_stored_verdict_are_listed(tmp_path: Path) -> None:
    report = run(tmp_path, ROWS)
    assert report.num_compared == 3
    (found,) = report.disagreements
    assert (found.row, found.id, found.stored_correct) == (1, "1", False)
    assert found.graded.verdict is Verdict.CORRECT
    assert (found.graded.layer, found.graded.extracted) == ("number", "1/2")
    assert report.agreement == pytest.approx(2 / 3)


def test_without_a_stored_verdict_nothing_is_compared(tmp_path: Path) -> None:
    report = run(tmp_path, ROWS, verdict=None)
    assert (report.num_compared, report.agreement, report.disagreements) == (0, None, ())


def test_gzip_in_and_out_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    packed = [tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz"]
    for path in packed:
        run(tmp_path, ROWS, output_path=path)
    assert packed[0].read_bytes() == packed[1].read_bytes()
    assert len(gzip.decompress(packed[0].read_bytes()).split(b"\n")) == len(ROWS) + 1
    fields = GradeFields(
        text="extracted", gold="gold", id="gold", answer_kind=None, verdict="verdict"
    )
    again = regrade_file(packed[0], tmp_path / "c.jsonl", fields=fields, config=STORED)
    assert again.agreement == 1


def test_rows_may_name_their_answer_kind(tmp_path: Path) -> None:
    rows = [
        {"out": {"text": "Answer: B"}, "gold": "B", "kind": "letter"},
        {"out": {"text": "Answer: 1/2"}, "gold": "1/2", "kind": "text"},
    ]
    report = run(tmp_path, rows, answer_kind="kind", verdict=None)
    assert report.layers == {"letter": 1, "string": 1}


@pytest.mark.parametrize(
    ("row", "changes", "message"),
    [
        ({"gold": "1"}, {}, r"row 0 of in.jsonl has no field 'out.text'; it has gold"),
        ({"out": {"text": "1"}}, {}, "no field 'gold'"),
        (ROWS[0], {"id": "name"}, r"row 0 of in.jsonl has no field 'name'; it has gold, ok, out"),
        (ROWS[0], {"verdict": "okay"}, r"no row of in.jsonl has the field 'okay'.*fields.verdict"),
        ({**ROWS[0], "ok": "perhaps"}, {}, "row 0: the stored verdict ok='perhaps'"),
        ({**ROWS[0], "kind": "prose"}, {"answer_kind": "kind"}, "kind='prose' is no answer kind"),
    ],
)
def test_unreadable_row_is_refused_before_anything_is_graded(
    tmp_path: Path, row: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(tmp_path, [row], **changes)
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize("value", [math.nan, {"deep": [-math.inf]}])
def test_row_that_is_no_json_is_refused_by_its_line_before_anything_is_graded(
    tmp_path: Path, value: object
) -> None:
    rows = tmp_path / "rows.jsonl"
    good, bad = {"text": "4", "gold": "4"}, {"text": "5", "gold": "5", "x": value}
    rows.write_text(f"{json.dumps(good)}\n\n{json.dumps(bad)}\n")
    with pytest.raises(ValueError, match=r"rows.jsonl: line 3: the field 'x' cannot be written"):
        regrade_plain(rows, tmp_path / "deep" / "out.jsonl")
    assert not (tmp_path / "deep").exists()


def test_lone_surrogates_come_back_as_they_were(tmp_path: Path) -> None:
    row = {"text": "Answer: \ud800", "gold": "\udcff", "x\udc80": "a \u00e9 \udc80 \\ b"}
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(row) + "\n", encoding="utf-8")
    regrade_plain(rows, tmp_path / "out.jsonl")
    written = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))
    assert {name: written[name] for name in row} == row
    assert (written["verdict"], written["extracted"]) == ("incorrect", "\ud800")


def test_input_is_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is the input"):
        run(tmp_path, ROWS, output_path=tmp_path / "in.jsonl")


@pytest.mark.parametrize(
    ("output", "message"), [(".", "is a directory"), ("in.jsonl/x", "in.jsonl is no directory")]
)
def test_output_that_cannot_be_written_is_refused_before_anything_is_graded(
    tmp_path: Path, output: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(tmp_path, ROWS, output_path=tmp_path / output)
