import pytest

from s1ray.grading.normalization import normalise, squeeze


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (r"$42$", "42"),
        (r"\(42\)", "42"),
        ("**42**", "42"),
        ("42.", "42"),
        (r"1\,000", "1000"),
        (r"1{,}000", "1000"),
        (r"1,\!000", "1000"),
        (r"11,\! 111,\! 100", "11111100"),
        (r"12\,345\,678", "12345678"),
        (r"\$675", "675"),
        ("$675", "675"),
        (r"12^{\mathrm{th}}", "12"),
        (r"12^{th}", "12"),
        (r"12^\text{th}", "12"),
        ("23rd", "23"),
        ("5 a.m.", "5"),
        (r"5\text{ a.m.}", "5"),
        (r"40 \text{ feet}", "40"),
        ("1320 km", "1320"),
        (r"24 \text{ cm}^2", "24"),
        (r"120^\circ", "120"),
        ("120\u00b0", "120"),
        ("\u22123", "-3"),
        (r"\fbox{5}", "5"),
        (r"\text{even}", "even"),
        (r"\dfrac{1}{2}", "1/2"),
        (r"\left( 3, \frac{\pi}{2} \right)", r"( 3, \frac{\pi}{2} )"),
        ("[1, 2)", "[1, 2)"),
        ("11\u221a2", r"11\sqrt{2}"),
        ("x**12", "x^{12}"),
        ("3 or 4", "3 or 4"),
        ("2 pi", "2 pi"),
        ("3 million", "3 million"),
        ("3t", "3t"),
        (r"10 \text{ and } 12", r"10 \text{ and } 12"),
    ],
)
def test_value_is_plain(answer: str, value: str) -> None:
    assert normalise(answer).value == value


@pytest.mark.parametrize(
    ("answer", "unit"),
    [
        ("5 feet", "foot"),
        (r"5 \text{ ft}", "foot"),
        ("5:30 p.m.", "pm"),
        ("5 AM", "am"),
        (r"\$5", "dollar"),
        ("5 dollars", "dollar"),
        (r"5^\circ", "degree"),
        ("5 apples", "apples"),
        ("5", None),
        (r"\text{Monday}", None),
    ],
)
def test_unit_is_named(answer: str, unit: str | None) -> None:
    assert normalise(answer).unit == unit


@pytest.mark.parametrize("answer", [r"8\%", "8%", "8 percent", r"8 \text{ percent}"])
def test_percent_is_kept_apart(answer: str) -> None:
    plain = normalise(answer)
    assert (plain.value, plain.is_percent) == ("8", True)


def test_squeeze_keeps_words_and_numbers_apart() -> None:
    assert squeeze("x + 1") == "x+1"
    assert squeeze(r"\sin^2 t") == r"\sin^2t"
    assert squeeze("3 8 1") == "3 8 1"
    assert squeeze("an apple") == "an apple"
