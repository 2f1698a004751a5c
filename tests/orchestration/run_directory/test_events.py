"""The run's own record of its metrics."""

from pathlib import Path

import pytest

from s1ray.orchestration.run_directory.events import EVENTS, EventLog, follow_lines, read_events


def test_append_steps_never_go_backwards_across_a_resume(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        for step in (1, 2, 3):
            assert log.append(step, {"loss": step / 10})
    with EventLog(tmp_path) as log:
        appended = [log.append(step, {"loss": 9.0}) for step in (2, 3, 4)]

    assert appended == [False, False, True]
    assert [(row["global_step"], row["loss"]) for row in read_events(tmp_path)] == [
        (1, 0.1), (2, 0.2), (3, 0.3), (4, 9.0),
    ]  # fmt: skip


def test_torn_last_line_is_cut_and_its_step_recorded_again(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.append(1, {"loss": 0.5})
    with (tmp_path / EVENTS).open("a", encoding="utf-8") as file:
        file.write('{"global_step": 2, "lo')

    with EventLog(tmp_path) as log:
        log.append(2, {"loss": 0.25})

    assert [row["global_step"] for row in read_events(tmp_path)] == [1, 2]


def test_append_nan_is_refused(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log, pytest.raises(ValueError, match="JSON"):
        log.append(1, {"loss": float("nan")})


def test_follow_lines_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n{"a":', encoding="utf-8")
    first = list(follow_lines(path, offset=0))

    with path.open("a", encoding="utf-8") as file:
        file.write(" 3}\n")
    second = list(follow_lines(path, offset=first[-1][1]))

    assert [row["a"] for row, _ in first] == [1, 2]
    assert [row["a"] for row, _ in second] == [3]
