"""The dashboard's rows: the same steps whenever they are read, and no private text."""

import json
from pathlib import Path
from typing import Any

import pytest

from s1ray.evaluation.samples import to_row
from s1ray.orchestration.dashboard.board_rows import (
    SAMPLE_COLUMNS,
    BoardRow,
    BoardRows,
    leave_steps_behind,
    show_sample,
)
from tests.evaluation.builders import make_sample


def _write(path: Path, *, num_samples: int, num_events: int | None = None) -> None:
    samples = [to_row(make_sample(f"{index:02}")) for index in range(num_samples)]
    (path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in samples))
    steps = range(1, (num_samples if num_events is None else num_events) + 1)
    events = [{"global_step": step, "time": 0.0, "a": step} for step in steps]
    (path / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in events))


def _read(path: Path, *, is_whole: bool) -> list[BoardRow]:
    return list(BoardRows(path, table_rows=3).read(is_whole=is_whole))


def _list_items(rows: list[BoardRow]) -> list[list[Any]]:
    item = SAMPLE_COLUMNS.index("item")
    return [[sample[item] for sample in row.samples] for row in rows if row.samples]


def test_every_event_is_a_row_and_every_sample_stands_in_one_table(tmp_path: Path) -> None:
    _write(tmp_path, num_samples=7)

    rows = _read(tmp_path, is_whole=True)

    assert [row.metrics["a"] for row in rows if not row.samples] == list(range(1, 8))
    assert _list_items(rows) == [["00", "01", "02"], ["03", "04", "05"], ["06"]]
    steps = [row.step for row in rows]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize("cut", range(8))
def test_rows_keep_their_steps_however_often_reading_begins_anew(tmp_path: Path, cut: int) -> None:
    _write(tmp_path, num_samples=7)
    whole = _read(tmp_path, is_whole=True)

    _write(tmp_path, num_samples=7, num_events=cut)
    early = _read(tmp_path, is_whole=False)

    assert early == whole[: len(early)]


def test_rows_read_while_they_come_are_those_read_at_the_end(tmp_path: Path) -> None:
    following = BoardRows(tmp_path, table_rows=3)
    rows: list[BoardRow] = []
    for count in range(8):
        _write(tmp_path, num_samples=count)
        rows += following.read(is_whole=False)
    rows += following.read(is_whole=True)

    assert rows == _read(tmp_path, is_whole=True)


def test_rows_of_a_run_that_starts_over_come_behind_those_it_had(tmp_path: Path) -> None:
    _write(tmp_path, num_samples=7)
    before = _read(tmp_path, is_whole=True)
    for _ in range(2):
        leave_steps_behind(tmp_path)
        after = _read(tmp_path, is_whole=True)

        assert min(row.step for row in after) > max(row.step for row in before)
        assert [row.samples for row in after] == [row.samples for row in before]
        before = after


def test_training_without_samples_has_events_only(tmp_path: Path) -> None:
    _write(tmp_path, num_samples=7)
    (tmp_path / "samples.jsonl").unlink()

    assert [row.samples for row in _read(tmp_path, is_whole=True)] == [()] * 7


def test_private_sample_is_shown_without_any_text() -> None:
    row = to_row(make_sample("rec1", extracted="B"))
    private = row | {"question": None, "gold": "C", "thinking": "the planted text", "answer": "it"}

    shown = dict(zip(SAMPLE_COLUMNS, show_sample(private), strict=True))

    assert shown["item"] == "rec1"
    assert (shown["extracted"], shown["gold"], shown["verdict"]) == ("B", "C", "correct")
    assert [shown[name] for name in ("question", "thinking", "answer")] == [None] * 3
    assert "planted" not in str(show_sample(private | {"extracted": "planted", "gold": "planted"}))
