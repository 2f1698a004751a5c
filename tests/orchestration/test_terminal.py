"""Text of users on the terminal: shown as it stands, whatever it looks like."""

import pytest

from s1ray.orchestration.terminal import show_progress, show_table


def test_brackets_in_a_table_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    show_table("x [gsm8k] y", [{"[red]": "[/shared/x]"}])

    said = capsys.readouterr().err
    assert all(text in said for text in ("x [gsm8k] y", "[red]", "[/shared/x]"))


def test_brackets_in_a_progress_line_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("x [gsm8k]", total=1) as bar:
        bar.advance_to(1, "[/y]")

    assert "x [gsm8k]: 1/1 [/y]" in capsys.readouterr().err
