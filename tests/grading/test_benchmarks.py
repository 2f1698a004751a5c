import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter, ValidationError

from s1ray.config.grading import (
    BenchmarkConfig,
    GeneratedBenchmarkConfig,
    RowsBenchmarkConfig,
)
from s1ray.grading.benchmarks import (
    load_questions,
    present_questions,
    shuffle_options,
)
from s1ray.records import AnswerKind, Question
from tests.choices import read_choice
from tests.grading.settings import ROOT
from tests.reference_data import find_reference

NAMES = sorted(path.stem for path in (ROOT / "conf" / "benchmark").glob("*.yaml"))
ROW = {"problem": "What is 6 * 7?", "answer": 42, "id": "x1"}


def read_benchmark(name: str, **changes: Any) -> RowsBenchmarkConfig:
    content = read_choice("benchmark", name)[name]
    return RowsBenchmarkConfig.model_validate({**content, **changes})


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def write_gpqa(path: Path, num_rows: int) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        wrong = [f"Incorrect Answer {number}" for number in (1, 2, 3)]
        writer.writerow(["Record ID", "Question", "Correct Answer", *wrong])
        for index in range(num_rows):
            options = [f"{option} {index}" for option in ("right", "one", "two", "three")]
            writer.writerow([f"rec{index}", f"secret question {index}?\nSecond line.", *options])
    return str(path)


GENERATED = {"generated", "running_sums", "running_sums_few"}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in GENERATED])
def test_declaration_is_complete_and_pins_its_revision(name: str) -> None:
    config = read_benchmark(name)
    assert config.hub is not None
    assert len(config.hub.revision) == 40
    assert config.licence
    assert config.is_private is (name == "gpqa_diamond")


@pytest.mark.parametrize(
    ("name", "file", "count", "kind"),
    [
        ("aime24", "aime24", 30, AnswerKind.INTEGER),
        ("amc23", "amc23", 40, AnswerKind.INTEGER),
        ("gsm8k", "gsm8k_test", 1319, AnswerKind.INTEGER),
        ("math500", "math500", 500, AnswerKind.MATH),
    ],
)
def test_real_benchmark_loads_from_a_local_file(
    name: str, file: str, count: int, kind: AnswerKind
) -> None:
    path = find_reference(f"eval/{file}.jsonl.gz")
    questions = load_questions(name, read_benchmark(name, path=str(path)))
    assert len(questions) == count
    assert len({question.id for question in questions}) == count
    assert {question.answer_kind for question in questions} == {kind}
    assert {question.source for question in questions} == {name}
    if kind is AnswerKind.INTEGER:
        assert all(
            question.answer.lstrip("-").replace(",", "").isdecimal() for question in questions
        )


def test_real_olympiadbench_joins_its_lists() -> None:
    path = find_reference("pool/olympiadbench_maths_en.jsonl.gz")
    questions = load_questions("olympiadbench", read_benchmark("olympiadbench", path=str(path)))
    assert len(questions) == 675
    assert questions[0].answer == "2"
    assert not any(question.answer.startswith("['") for question in questions)


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "json", "json.gz", "parquet"])
def test_formats_give_the_same_question(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows.{ending}"
    text = json.dumps(ROW) + "\n" if "jsonl" in ending else json.dumps([ROW])
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist([ROW]), path)
    elif ending.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    questions = load_questions("aime24", read_benchmark("aime24", path=str(path)))
    assert questions == (
        Question(
            id="x1",
            text="What is 6 * 7?",
            answer="42",
            answer_kind=AnswerKind.INTEGER,
            source="aime24",
            domain=None,
            solution=None,
        ),
    )


def test_jsonl_is_split_on_newlines_only(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = {**ROW, "problem": "one\u2028question"}
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    (question,) = load_questions("aime24", read_benchmark("aime24", path=str(path)))
    assert question.text == "one\u2028question"


@pytest.mark.parametrize(
    ("gold", "raw", "answer"),
    [
        ("verbatim", r" \frac{1}{2} ", r"\frac{1}{2}"),
        ("hashes", "6 * 7 = 42\n#### 1,042", "1,042"),
        ("boxed", r"so \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        ("whole_number", "142.0", "142"),
        ("whole_number", 36.0, "36"),
        ("whole_number", "025", "25"),
        ("list", ["$3$", "$5$"], "3, 5"),
        ("list", "['2']", "2"),
    ],
)
def test_gold_is_read_as_the_source_spells_it(
    tmp_path: Path, gold: str, raw: Any, answer: str
) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [{**ROW, "answer": raw}])
    (question,) = load_questions("math500", read_benchmark("aime24", path=path, gold=gold))
    assert question.answer == answer


@pytest.mark.parametrize(
    ("gold", "raw"),
    [("hashes", "42"), ("boxed", "42"), ("whole_number", "4.5"), ("list", "42"), ("list", "[")],
)
def test_gold_of_another_form_is_refused_without_showing_it(
    tmp_path: Path, gold: str, raw: str
) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [{**ROW, "answer": raw}])
    with pytest.raises(ValueError, match=rf"row 0 of rows.jsonl.*gold={gold}.*benchmark.b.gold"):
        load_questions("b", read_benchmark("aime24", path=path, gold=gold))


def test_limit_takes_the_first_questions(tmp_path: Path) -> None:
    rows = [{**ROW, "id": index} for index in range(5)]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    questions = load_questions("aime24", read_benchmark("aime24", path=path, limit=2))
    assert [question.id for question in questions] == ["0", "1"]


def test_context_stands_before_the_question(tmp_path: Path) -> None:
    rows = [
        {"question": "Find x.", "final_answer": ["1"], "id": 1, "context": "Let x = 1."},
        {"question": "Find y.", "final_answer": ["1"], "id": 2, "context": None},
    ]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    first, second = load_questions("o", read_benchmark("olympiadbench", path=path))
    assert first.text == "Let x = 1.\n\nFind x."
    assert second.text == "Find y."


def test_missing_field_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [{"text": "secret", "answer": 1}])
    with pytest.raises(
        ValueError, match=r"row 0 .* none of the fields problem, question; it has answer, text"
    ) as e:
        load_questions("aime24", read_benchmark("aime24", path=path))
    assert "secret" not in str(e.value)


def test_repeated_id_is_refused(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [ROW, ROW])
    with pytest.raises(ValueError, match=r"row 1 of rows.jsonl has the id of row 0.*fields.id"):
        load_questions("aime24", read_benchmark("aime24", path=path))


def test_empty_absent_and_unknown_files_are_refused(tmp_path: Path) -> None:
    empty = write_jsonl(tmp_path / "empty.jsonl", [])
    with pytest.raises(ValueError, match=r"empty.jsonl holds no rows"):
        load_questions("aime24", read_benchmark("aime24", path=empty))
    with pytest.raises(ValueError, match=r"absent.jsonl is no file"):
        load_questions("aime24", read_benchmark("aime24", path=str(tmp_path / "absent.jsonl")))
    (tmp_path / "rows.txt").write_text("x")
    with pytest.raises(ValueError, match=r"rows.txt: its format is '.txt', and .*\.parquet"):
        load_questions("aime24", read_benchmark("aime24", path=str(tmp_path / "rows.txt")))


def test_unreachable_hub_says_to_use_a_local_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ValueError, match=r"HuggingFaceH4/aime_2024@2fe88a2f.*benchmark.aime24.path"
    ):
        load_questions("aime24", read_benchmark("aime24"))


def test_multiple_choice_shuffles_each_item_by_seed_and_id(tmp_path: Path) -> None:
    path = write_gpqa(tmp_path / "gpqa.csv", 200)
    config = read_benchmark("gpqa_diamond", path=path)
    questions = load_questions("gpqa_diamond", config)
    assert load_questions("gpqa_diamond", config) == questions
    for index, question in enumerate(questions):
        right = question.text.index(f"right {index}")
        assert question.text[right - 3 : right] == f"{question.answer}) "
    counts = [sum(question.answer == letter for question in questions) for letter in "ABCD"]
    assert min(counts) > 25
    assert questions[0].text.startswith("secret question 0?\nSecond line.\n\nA) ")


def test_permutation_depends_on_nothing_but_seed_and_item() -> None:
    first = shuffle_options("right", ["a", "b", "c"], seed=1, item="x")
    assert first == shuffle_options("right", ["a", "b", "c"], seed=1, item="x")
    others = [shuffle_options("right", ["a", "b", "c"], seed=seed, item="x") for seed in range(20)]
    assert len({options for options, _ in others}) > 5


def test_private_question_is_in_no_message(tmp_path: Path) -> None:
    path = tmp_path / "gpqa.csv"
    write_gpqa(path, 2)
    path.write_text(path.read_text().replace("rec1", "rec0"))
    with pytest.raises(ValueError, match="row 1") as caught:
        load_questions("gpqa_diamond", read_benchmark("gpqa_diamond", path=str(path)))
    assert "secret" not in str(caught.value)


def test_generated_questions_are_asked_with_the_benchmarks_prompt() -> None:
    content = read_choice("benchmark", "running_sums")["running_sums"]
    config = GeneratedBenchmarkConfig.model_validate({**content, "prompt": "Please: {question}"})
    question = Question(
        id="q",
        text="What is {1} + 1?",
        answer="2",
        answer_kind=AnswerKind.INTEGER,
        source="generator",
        domain=None,
        solution=None,
    )
    (asked,) = present_questions("sums", config, questions=[question])
    assert (asked.text, asked.source, asked.id) == ("Please: What is {1} + 1?", "sums", "q")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hub": None}, "nothing to read. Set path"),
        ({"prompt": "Solve it."}, r"must contain exactly \{question\}"),
        ({"prompt": "{question} {A}"}, r"must contain exactly \{question\}"),
        ({"prompt": "{question} {"}, "is not a template"),
        ({"answer_kind": "letter"}, "do not belong together"),
        ({"options": {"incorrect": ["a"], "seed": 0}}, "do not belong together"),
        ({"colour": "red"}, "Extra inputs are not permitted"),
        ({"gold": "guess"}, "'verbatim', 'hashes'"),
        ({"hub": {"dataset": "a/b", "revision": "main", "file": "x"}}, "match pattern"),
    ],
)
def test_wrong_declaration_is_refused(changes: dict[str, Any], message: str) -> None:
    content = read_choice("benchmark", "aime24")["aime24"]
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(BenchmarkConfig).validate_python({**content, **changes})
