from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s1ray.grading.numerals import are_close, read_numeral, spell_numeral

TOLERANCE = 1e-6


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("042", 42),
        ("-7", -7),
        ("+5", 5),
        ("142.0", 142),
        ("1,000", 1000),
        ("1,234,567.5", Fraction(2469135, 2)),
        ("72 000", 72000),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        (r"\frac{1}{2}", Fraction(1, 2)),
        (r"-\frac{1}{2}", Fraction(-1, 2)),
        (r"\frac{-1}{2}", Fraction(-1, 2)),
        ("3/4", Fraction(3, 4)),
        ("2.5e3", 2500),
        (r"4\times 10^{-2}", Fraction(1, 25)),
        ("0x1F", 31),
        ("-0x10", -16),
    ],
)
def test_numeral_is_read(text: str, value: int | Fraction) -> None:
    numeral = read_numeral(text)
    assert numeral is not None
    assert numeral.value == value


@pytest.mark.parametrize(
    "text", ["", "x", "1+1", "2^3", "1,00", "12,34", "1/0", r"\frac{1}{0}", "(1,000)", "1 2", "5!"]
)
def test_anything_else_is_no_numeral(text: str) -> None:
    assert read_numeral(text) is None


@given(st.integers(min_value=-(10**12), max_value=10**12))
def test_thousands_marks_do_not_change_an_integer(number: int) -> None:
    numeral = read_numeral(f"{number:,}")
    assert numeral is not None
    assert numeral.value == number


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("1/3", "0.333333", True),
        ("1/3", "0.333", False),
        ("1000000", "1000000.5", False),
        ("1000000", "1000001", False),
        ("2.4e-19", "4.5e-18", False),
        ("2.4e-19", "0.00000000000000000024", True),
        ("0", "0.0", True),
        ("18.9", "18.90", True),
    ],
)
def test_closeness(gold: str, answer: str, *, expected: bool) -> None:
    first, second = read_numeral(gold), read_numeral(answer)
    assert first is not None
    assert second is not None
    assert are_close(first, second, tolerance=TOLERANCE) is expected


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("1,000", "1000"),
        ("2.0", "2"),
        ("2.4e-3", r"2.4\times 10^{-3}"),
        ("1,000.5", "1000.5"),
        ("x", "x"),
    ],
)
def test_spelling_for_algebra(text: str, spelt: str) -> None:
    assert spell_numeral(text) == spelt
