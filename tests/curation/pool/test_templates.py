"""A row's columns: those that are missing, and values that say nothing."""

import pytest

from s1ray.config.pool import RowsSourceConfig
from s1ray.curation.pool.files import RawRow
from s1ray.curation.pool.items import PoolItem, RefusedRow
from s1ray.curation.pool.rows import RowLimits, build_item
from tests.curation.declared import declare


def _build(content: dict[str, object], source: RowsSourceConfig) -> PoolItem | RefusedRow:
    row = RawRow(file="f.jsonl", number=7, content=content, error=None)
    limits = RowLimits(max_question_characters=50, image_markers=("![",))
    return build_item(row, source=source, name="src", limits=limits)


@pytest.mark.parametrize(
    ("template", "detail"),
    [
        ("{b}", "no column b; there is q, a, deep"),
        ("{deep.y}", "no column y of deep.y; there is x"),
    ],
)
def test_a_missing_column_is_named_beside_those_that_are_there(template: str, detail: str) -> None:
    content = {"q": "x", "a": "1", "deep": {"x": 1}}

    refused = _build(content, declare(columns={"solution": template}))

    assert isinstance(refused, RefusedRow)
    assert (refused.reason, refused.detail) == ("missing_column", detail)


def test_an_object_where_a_text_is_wanted_is_named_with_what_it_holds() -> None:
    content = {"q": [{"role": "user", "content": "x"}], "a": "1"}

    refused = _build(content, declare())

    assert isinstance(refused, RefusedRow)
    assert refused.detail == "column q: an object, not a text; it holds role, content"


def test_what_pandas_left_as_nan_is_missing() -> None:
    nan = float("nan")
    source = declare(columns={"domain": "{d}", "level": "{l}"})

    item = _build({"q": "x", "a": "1", "d": nan, "l": nan}, source)
    unanswered = _build({"q": "x", "a": nan, "d": "d", "l": 1}, source)

    assert isinstance(item, PoolItem)
    assert (item.trace.question.domain, item.level) == (None, None)
    assert isinstance(unanswered, RefusedRow)
    assert unanswered.reason == "empty_answer"


def test_a_level_without_end_is_refused() -> None:
    refused = _build({"q": "x", "a": "1", "l": "inf"}, declare(columns={"level": "{l}"}))

    assert isinstance(refused, RefusedRow)
    assert refused.detail == "level {l}: 'inf' is no finite number"
