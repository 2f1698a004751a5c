r"""From an answer's spelling to a plain one: "\$1{,}000 \text{ per year}" to value "1000".

Units, percent signs, currency, ordinals and thousands separators leave the value; what they were
is kept, so that a comparison can be strict about it. This module compares nothing and knows no
algebra.
"""

import re
from dataclasses import dataclass

from s1ray.grading.numerals import spell_numeral

_TRANSLATION = str.maketrans(
    {
        "\u2212": "-",
        "\u2013": "-",
        "\u00a0": " ",
        "\u2009": " ",
        "\u202f": " ",
        "\u00b0": r"^\circ ",
        "\u00d7": r"\times ",
        "\u00b7": r"\cdot ",
        "\u03c0": r"\pi ",
        "\u221e": r"\infty ",
        "\u222a": r"\cup ",
        "\u2264": r"\le ",
        "\u2265": r"\ge ",
        "\u20ac": r"\$",
        "\u00a3": r"\$",
    }
)
_ROOT = re.compile("\u221a" + r"\s*(\d+|[A-Za-z]|\{[^{}]*\}|\([^()]*\))")
_ENCLOSURES = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("`", "`"))
_WRAPPER = re.compile(
    r"\\+(?:boxed|fbox|text|textbf|textrm|textit|mathrm|mathbf|mbox|operatorname)\s*\{"
)
_INVISIBLE = re.compile(
    r"\\(?:left|right|displaystyle|textstyle|big|Big|bigg|Bigg)(?![A-Za-z])|\\!"
)
_FRACTION_STYLE = re.compile(r"\\[dtc]frac")
_THOUSANDS_MARK = re.compile(r"(?<=\d)(?:\\[,;: ]|\{,\}|,\s*\\!\s*)(?=\d{3}(?!\d))")
# Not the second half of a matrix's row separator.
_SPACING = re.compile(r"(?<!\\)\\[,;: ]|~|\\q?quad(?![A-Za-z])")
_WORD_BOX = r"\\(?:text|textrm|mathrm|mbox|operatorname|rm)\s*"
_ORDINAL = re.compile(
    r"(?<=\d)\s*\^?\s*\{?\s*(?:" + _WORD_BOX + r")?\{?\s*(?:st|nd|rd|th)\s*\}*(?![A-Za-z])"
)
_PERCENT = re.compile(
    r"\s*(?:\\?%|(?:" + _WORD_BOX + r"\{\s*)?\b(?:percent|percentage|pct)\b\.?\s*\}?)\s*$"
)
_CURRENCY = re.compile(r"\\?\$\s*")
_DEGREES = re.compile(r"\s*\^\s*\{?\s*\\circ\s*\}?\s*(?:" + _WORD_BOX + r"\{\s*)?[CF]?\s*\}?$")
_UNIT_BOX = re.compile(r"\s*" + _WORD_BOX + r"\{([^{}\d]*)\}(?:\s*\^\s*\{?\d\}?)?\.?$")
_NUMBER = r"[-+]?(?:\d+(?:,\d{3})*(?:\.\d*)?|\.\d+)"
_UNIT_WORDS = re.compile(
    r"(?P<value>" + _NUMBER + r"(?:\s*/\s*\d+)?|\d{1,2}:\d\d|[-+]?\\frac\{\d+\}\{\d+\})\s*"
    r"(?P<unit>(?:[ap]\.?\s?m\.?|(?<=\s)[mgsh]|[A-Za-z]{2,}(?:[ .][A-Za-z]+)*)(?:/[A-Za-z]+)?)"
    r"(?:\s*\^\s*\{?\d\}?)?"
)
_NO_UNIT = re.compile(
    r"\b(?:pi|sqrt|ln|log|exp|(?:arc)?(?:sin|cos|tan)|cot|sec|csc|mod|choose|pm|and|or|not|to|over|"
    r"hundred|thousand|million|billion|trillion|dozen|half|factorial|squared|cubed|power|root|"
    r"times|plus|minus)\b",
    re.IGNORECASE,
)
_UNIT_NAMES = {
    name: names.split()[0]
    for names in (
        "meter meters metre metres m",
        "centimeter centimeters centimetre centimetres cm",
        "millimeter millimeters mm",
        "kilometer kilometers kilometre kilometres km",
        "inch inches in",
        "foot feet ft",
        "yard yards yd",
        "mile miles mi",
        "gram grams g",
        "kilogram kilograms kg",
        "pound pounds lb lbs",
        "ounce ounces oz",
        "second seconds sec s",
        "minute minutes min",
        "hour hours hr h",
        "day days",
        "week weeks",
        "month months",
        "year years yr",
        "dollar dollars usd",
        "cent cents",
        "degree degrees",
        "radian radians rad",
        "am a.m.",
        "pm p.m.",
    )
    for name in names.split()
}
_GAP = re.compile(r"\s+")
_IDLE_SPACE = re.compile(r"\s+(?![\dA-Za-z])|(?<![\dA-Za-z])\s+|(?<=\d)\s+(?=[A-Za-z])")
_TEXT_COMMAND = re.compile(r"\\(?:text|mathrm|mbox)(?=\{)")
_PROGRAM_POWER = re.compile(r"\*\*\s*\(?(-?\d+)\)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainAnswer:
    """An answer without its dress."""

    value: str
    """LaTeX or plain text, without unit, percent sign, currency, ordinal and thousands marks."""
    unit: str | None
    """A known unit under one name, such as "meter"; other words as they stood; None for none."""
    is_percent: bool

    @property
    def has_known_unit(self) -> bool:
        """Whether the unit may contradict another one."""
        return self.unit in _UNIT_NAMES.values()


def normalise(answer: str) -> PlainAnswer:
    """Return the plain form of an answer.

    Bracket types, signs and the order of parts stay as they are.
    """
    # One space for many: patterns with several optional gaps take that power of a gap's length.
    text = _GAP.sub(" ", answer.translate(_TRANSLATION))
    text = _unwrap(_ROOT.sub(r"\\sqrt{\1}", text))
    text = _INVISIBLE.sub("", _THOUSANDS_MARK.sub("", text))
    text = _FRACTION_STYLE.sub(r"\\frac", _SPACING.sub(" ", _ORDINAL.sub("", text)))
    text = _GAP.sub(" ", text)
    has_currency = _CURRENCY.search(text) is not None
    text = _CURRENCY.sub("", text).strip()
    is_percent = (match := _PERCENT.search(text)) is not None and match.start() > 0
    text = _PERCENT.sub("", text) if is_percent else text
    value, unit = _split_unit(_PROGRAM_POWER.sub(r"^{\1}", text.strip()))
    if unit is None and has_currency:
        unit = "dollar"
    return PlainAnswer(value=spell_numeral(value), unit=unit, is_percent=is_percent)


def squeeze(value: str) -> str:
    """Return a plain value without idle spaces and text commands, for comparison as a string.

    A space that keeps two words or two numbers apart stays.
    """
    return _GAP.sub(" ", _IDLE_SPACE.sub("", _TEXT_COMMAND.sub("", value)))


def _unwrap(text: str) -> str:
    before = None
    while text != before:
        before = text
        text = text.strip().strip("\"'").rstrip(",;").strip()
        if text.endswith(".") and not re.search(r"\.[A-Za-z]\.$", text):
            text = text[:-1].rstrip()
        for opener, closer in _ENCLOSURES:
            inner = text[len(opener) : -len(closer)]
            if text.startswith(opener) and text.endswith(closer) and inner and closer not in inner:
                text = inner
        match = _WRAPPER.match(text)
        if match and _find_closing_brace(text, match.end()) == len(text) - 1:
            text = text[match.end() : -1]
    return text


def _find_closing_brace(text: str, start: int) -> int:
    """Return where the group closes that was opened before ``start``; -1 where it does not."""
    depth = 1
    for token in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
        depth += {"{": 1, "}": -1}.get(token.group(), 0)
        if depth == 0:
            return token.start()
    return -1


def _split_unit(text: str) -> tuple[str, str | None]:
    if match := _DEGREES.search(text):
        return text[: match.start()], "degree"
    match = _UNIT_BOX.search(text)
    if match and re.search(r"\d|\\pi", text[: match.start()]) and _is_unit(match.group(1)):
        return text[: match.start()].strip(), _name_unit(match.group(1))
    match = _UNIT_WORDS.fullmatch(text)
    if match and _is_unit(match["unit"]):
        return match["value"], _name_unit(match["unit"])
    return text, None


def _is_unit(words: str) -> bool:
    return bool(words.strip()) and _NO_UNIT.search(words) is None


def _name_unit(words: str) -> str:
    name = " ".join(words.lower().split())
    return _UNIT_NAMES.get(name) or _UNIT_NAMES.get(name.replace(".", "").replace(" ", ""), name)
