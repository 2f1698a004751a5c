import hashlib

import pytest
from pydantic import ValidationError

from s1ray.config.pool import KeepConfig, RowsSourceConfig
from s1ray.curation.pool.files import RawRow
from s1ray.curation.pool.items import PoolItem, RefusedRow
from s1ray.curation.pool.rows import RowLimits, build_item
from s1ray.records import AnswerKind
from tests.curation.declared import declare

LIMITS = RowLimits(max_question_characters=50, image_markers=("![",))


def _build(content: dict[str, object] | None, source: RowsSourceConfig) -> PoolItem | RefusedRow:
    error = None if content is not None else "broken"
    row = RawRow(file="deep/f_level3.jsonl", number=7, content=content, error=error)
    return build_item(row, source=source, name="src", limits=LIMITS)


def _item(content: dict[str, object], source: RowsSourceConfig) -> PoolItem:
    item = _build(content, source)
    assert isinstance(item, PoolItem), item
    return item


def test_row_becomes_a_question_with_s1s_id() -> None:
    item = _item({"q": " What? ", "a": 3}, declare(answer_kind="integer"))

    question = item.trace.question
    assert (question.text, question.answer, question.source) == ("What?", "3", "src")
    assert question.id == hashlib.sha256(b"What?").hexdigest()[:16]
    assert question.answer_kind is AnswerKind.INTEGER
    assert item.origin == "src:deep/f_level3.jsonl:7"


def test_row_without_teacher_rests_on_its_solution_or_on_nothing() -> None:
    source = declare(columns={"solution": "{s}"})

    solved = _item({"q": "x", "a": "1", "s": "so"}, source).trace
    bare = _item({"q": "x", "a": "1", "s": None}, source).trace

    assert (solved.thinking, solved.teacher, solved.is_correct) == ("so", "worked solution", None)
    assert (bare.thinking, bare.teacher, bare.question.solution) == ("", "none", None)


@pytest.mark.parametrize(("grade", "expected"), [(True, True), ("No", False), (None, None)])
def test_row_with_a_teachers_trace_keeps_its_grade(*, grade: object, expected: bool | None) -> None:
    trace = {"thinking": "{t}", "answer": "{w}", "teacher": "T", "correct": "g"}

    item = _item({"q": "x", "a": "1", "t": ["p", "q"], "w": "2", "g": grade}, declare(trace=trace))

    assert (item.trace.thinking, item.trace.answer) == ("p\nq", "2")
    assert (item.trace.teacher, item.trace.is_correct) == ("T", expected)


def test_templates_join_lists_skip_nulls_and_look_inside_objects() -> None:
    columns = {"question": "{p}\n\n{q}\n{o}", "solution": "{m.s}", "domain": "{l.1}"}
    content = {"p": None, "q": "Q", "o": ["(A)1", "(B)2"], "a": [1, 2], "m": {"s": "S"}, "l": "ab"}

    item = _item({**content, "l": ["a", "b"]}, declare(columns=columns))

    question = item.trace.question
    assert (question.text, question.answer) == ("Q\n(A)1\n(B)2", "1, 2")
    assert (question.solution, question.domain) == ("S", "b")


def test_cuts_split_a_column_and_the_file_name_can_give_the_level() -> None:
    cuts = {
        "final": {"column": "a", "after": "#### ", "before": None},
        "steps": {"column": "a", "after": None, "before": "####"},
        "level": {"column": "_file", "after": "_level", "before": "."},
    }
    columns = {
        "answer": "{final}", "solution": "{steps}", "domain": "{_file}", "level": "{level}",
        "cuts": cuts,
    }  # fmt: skip

    item = _item({"q": "x", "a": "1+1=2\n#### 2"}, declare(columns=columns))

    question = item.trace.question
    assert (question.answer, question.solution, item.level) == ("2", "1+1=2", 3.0)
    assert question.domain == "f_level3.jsonl"


def test_options_come_in_a_fixed_order_with_the_right_letter() -> None:
    options = {"correct": "r", "wrong": ("w1", "w2", "w3"), "seed": 42}
    columns = {"question": "{q}\n{options}", "answer": "{option_letter}", "options": options}
    letters = set()

    for number in range(40):
        content = {"q": "x", "r": f"right{number}", "w1": "u", "w2": "v", "w3": "w"}
        question = _item(content, declare(columns=columns)).trace.question
        assert f"({question.answer}) right{number}" in question.text
        assert question == _item(content, declare(columns=columns)).trace.question
        letters.add(question.answer)

    assert letters == set("ABCD")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "malformed"),
        ({"q": "x"}, "missing_column"),
        ({"q": " ", "a": "1"}, "empty_question"),
        ({"q": "x", "a": None}, "empty_answer"),
        ({"q": "y" * 51, "a": "1"}, "over_long"),
        ({"q": "see ![fig](u)", "a": "1"}, "image"),
        ({"q": {"deep": 1}, "a": "1"}, "wrong_type"),
        ({"q": "x \ud800", "a": "1"}, "malformed"),
    ],
)
def test_bad_rows_are_refused_with_the_reason(
    content: dict[str, object] | None, reason: str
) -> None:
    refused = _build(content, declare())

    assert isinstance(refused, RefusedRow)
    assert (refused.reason, refused.is_bad) == (reason, True)
    assert (refused.source, refused.origin) == ("src", "src:deep/f_level3.jsonl:7")


@pytest.mark.parametrize(
    ("changes", "content"),
    [
        ({"columns": {"level": "{l}"}}, {"l": "hard"}),
        ({"keep": ({"column": "l", "operator": "at_least", "values": (1,)},)}, {"l": "hard"}),
        (
            {"trace": {"thinking": "{q}", "answer": "{a}", "teacher": "T", "correct": "l"}},
            {"l": "perhaps"},
        ),
    ],
)
def test_values_of_the_wrong_type_are_refused(
    changes: dict[str, object], content: dict[str, object]
) -> None:
    refused = _build({"q": "x", "a": "1", **content}, declare(**changes))  # type: ignore[arg-type]

    assert isinstance(refused, RefusedRow)
    assert refused.reason == "wrong_type"


def test_an_image_column_refuses_rows_that_hold_anything() -> None:
    source = declare(columns={"images": ("pic",)})

    assert isinstance(_build({"q": "x", "a": "1", "pic": None}, source), PoolItem)
    refused = _build({"q": "x", "a": "1", "pic": {"bytes": b"1"}}, source)

    assert isinstance(refused, RefusedRow)
    assert refused.reason == "image"


@pytest.mark.parametrize(
    ("operator", "values", "kept"),
    [
        ("one_of", ("x", 5), [5]),
        ("none_of", (None,), [4, 5, 6]),
        ("at_most", (5,), [4, 5]),
        ("at_least", (5,), [5, 6]),
    ],
)
def test_a_sources_filter_leaves_rows_out_without_calling_them_bad(
    operator: str, values: tuple[object, ...], kept: list[int]
) -> None:
    source = declare(keep=({"column": "l", "operator": operator, "values": values},))

    built = {level: _build({"q": "x", "a": "1", "l": level}, source) for level in (4, 5, 6)}

    assert [level for level, item in built.items() if isinstance(item, PoolItem)] == kept
    refused = [item for item in built.values() if isinstance(item, RefusedRow)]
    assert all((item.reason, item.is_bad) == ("left_out", False) for item in refused)


def test_a_bound_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"keep year at_most \['2022'\]: give one number"):
        KeepConfig(column="year", operator="at_most", values=("2022",))
