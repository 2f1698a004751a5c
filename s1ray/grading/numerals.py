r"""From a numeral to its exact value: "1,000", "0.50", "\frac{1}{2}", "3/4", "2.4e-3", "0x1F".

Anything that has to be calculated is no numeral. Values are rational, so that comparing them
needs neither floating point nor algebra.
"""

import re
import sys
from dataclasses import dataclass
from fractions import Fraction

_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[-+]?\d{1,3}(?: \d{3})+")
_DECIMAL = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)")
_FRACTION = re.compile(r"([-+]?)\s*(?:\\frac\{(-?\d+)\}\{(\d+)\}|(\d+)\s*/\s*(\d+))")
_SCIENTIFIC = re.compile(
    r"([-+]?(?:\d+(?:\.\d*)?|\.\d+))(?:[eE]|\s*\\(?:times|cdot)\s*10\s*\^)\s*"
    r"(?:\{\s*([-+]?\d{1,3})\s*\}|([-+]?\d{1,3}))"
)
_HEXADECIMAL = re.compile(r"(-?)0[xX]([0-9a-fA-F]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Numeral:
    """A number as somebody wrote it."""

    value: Fraction
    is_exact: bool
    """Whether it has neither decimals nor an exponent; "2.0" may be a rounded number."""

    @property
    def is_integer(self) -> bool:
        """Whether the value is whole, "142.0" included."""
        return self.value.denominator == 1


def read_numeral(text: str) -> Numeral | None:
    """Return the number a text is; None where it is more, less or other than one numeral."""
    text = text.strip()
    if len(text) > sys.int_info.default_max_str_digits:
        return None
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "").replace(" ", "")
    if _DECIMAL.fullmatch(text):
        return Numeral(value=Fraction(text), is_exact="." not in text)
    if match := _FRACTION.fullmatch(text):
        sign, *parts = match.groups()
        above, below = (int(part) for part in parts if part)
        if below == 0:
            return None
        return Numeral(value=(-1 if sign == "-" else 1) * Fraction(above, below), is_exact=True)
    if match := _SCIENTIFIC.fullmatch(text):
        exponent = int(match[2] or match[3])
        return Numeral(value=Fraction(match[1]) * Fraction(10) ** exponent, is_exact=False)
    match = _HEXADECIMAL.fullmatch(text)
    return match and Numeral(value=Fraction(int(match[1] + match[2], 16)), is_exact=True)


def are_close(gold: Numeral, answer: Numeral, *, tolerance: float) -> bool:
    """Return whether two numbers are equal, or close where one of them may be rounded.

    Args:
        gold: The gold number.
        answer: The answer's.
        tolerance: Largest difference: absolute for gold numbers above 1, else as a part of them.
    """
    if gold.is_exact and answer.is_exact:
        return gold.value == answer.value
    allowed = Fraction(str(tolerance)) * min(Fraction(1), abs(gold.value))
    return abs(gold.value - answer.value) <= allowed


def spell_numeral(text: str) -> str:
    """Return a numeral as algebra can read it; any other text as it is."""
    if (numeral := read_numeral(text)) is None:
        return text
    if numeral.is_exact or numeral.is_integer:
        return str(numeral.value)
    if match := _SCIENTIFIC.fullmatch(text):
        return rf"{match[1]}\times 10^{{{match[2] or match[3]}}}"
    return text.replace(",", "").replace(" ", "")
