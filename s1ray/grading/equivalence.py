"""Are two answers the same: what can be said without algebra, and what has to be asked of it.

The layers are integer (with other plain numbers beside it), string, then algebra; multiple choice
knows letters alone. A layer either
decides or passes the pair on. This module runs no algebra; it only says which pairs to compare.
"""

import re
from dataclasses import dataclass, replace
from typing import Protocol

from s1ray.grading.extraction import read_letter
from s1ray.grading.normalization import PlainAnswer, normalise, squeeze
from s1ray.grading.numerals import Numeral, are_close, read_numeral
from s1ray.records import AnswerKind, Verdict

_NUMBER = re.compile(r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?")
_TAIL = re.compile(r"(?:=|\b(?:is|are|equals)\b:?)\s*")
_REMARK = re.compile(r"\s+\([^()]*\)\.?$")
_OPERATOR = re.compile(r"\d\s*[-+*/^!_]|\\(?!text|mathrm|mbox|boxed|fbox|\$|%)[A-Za-z]")
_OPENERS = ("(", "[", r"\{")
_CLOSERS = (")", "]", r"\}")


class Judge(Protocol):
    """A last opinion on an answer that no layer found equal; ``evaluation.judge`` has one."""

    def __call__(self, *, gold: str, answer: str) -> bool | None:
        """Say whether the two answers mean the same; None where it refuses to compare these two.

        It sees no other sample.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a layer decided."""

    verdict: Verdict
    layer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgebraicPair:
    """Two expressions that are left to algebra."""

    gold: str
    answer: str


def compare(
    answer: str,
    *,
    gold: str,
    kind: AnswerKind,
    max_answer_characters: int,
    max_answer_nesting: int,
    tolerance: float,
) -> Decision | tuple[AlgebraicPair, ...]:
    """Compare an extracted answer with the gold answer, as far as that goes without algebra.

    Args:
        answer: What was extracted.
        gold: The gold answer.
        kind: Integers and texts never reach algebra; letters are compared as letters.
        max_answer_characters: Longer answers are compared as they stand, but for case and gaps.
        max_answer_nesting: So are those with deeper brackets.
        tolerance: Largest difference of two numbers of which one may be rounded; see
            ``numerals.are_close``.

    Returns:
        A decision, or the pairs of which one must be equal for the answer to be correct.
    """
    if kind is AnswerKind.LETTER:
        return _compare_letters(answer, gold)
    is_oversized = {
        text: len(text) > max_answer_characters or _nesting(text) > max_answer_nesting
        for text in (gold, answer)
    }
    if not (is_oversized[gold] or normalise(gold).value.strip()):
        return _gold_error()
    if any(is_oversized.values()):
        return _decide(is_equal=_fold(answer) == _fold(gold), layer="string")
    if kind is AnswerKind.TEXT:
        is_equal = _fold(normalise(answer).value) == _fold(normalise(gold).value)
        return _decide(is_equal=is_equal, layer="string")
    if kind is AnswerKind.INTEGER:
        return _compare_integers(answer, gold)
    plain_gold, plain_answer = normalise(gold), normalise(answer)
    decision = _compare_plain(plain_gold, plain_answer, tolerance=tolerance)
    return decision or _pair_up(plain_gold, plain_answer)


def read_integer(segment: str) -> int | None:
    """Return the integer an answer states: alone, after its last "=" or "is", or as its one number.

    A power, a factorial or any other calculation is not an integer here.
    """
    for text in (segment, _TAIL.split(segment)[-1], _REMARK.sub("", segment)):
        if (value := _read_whole(text)) is not None:
            return value
    numbers = set(_NUMBER.findall(segment))
    if len(numbers) != 1 or _OPERATOR.search(segment):
        return None
    return _read_whole(numbers.pop())


def _read_whole(text: str) -> int | None:
    numeral = read_numeral(normalise(text).value)
    return int(numeral.value) if numeral is not None and numeral.is_integer else None


def _compare_letters(answer: str, gold: str) -> Decision:
    if (expected := read_letter(gold)) is None:
        return _gold_error()
    return _decide(is_equal=read_letter(answer) == expected, layer="letter")


def _compare_integers(answer: str, gold: str) -> Decision:
    if (expected := _read_whole(gold)) is None:
        return _gold_error()
    if (found := read_integer(answer)) is None:
        return _decide(is_equal=False, layer="string")
    agrees = _units_agree(normalise(gold), normalise(answer))
    return _decide(is_equal=agrees and found == expected, layer="integer")


def _compare_plain(gold: PlainAnswer, answer: PlainAnswer, *, tolerance: float) -> Decision | None:
    """Decide where units, numbers, spellings or brackets do."""
    if not _units_agree(gold, answer):
        return _decide(is_equal=False, layer="string")
    expected, found = read_numeral(gold.value), read_numeral(answer.value)
    if expected is not None and found is not None:
        layer = "integer" if expected.is_integer and found.is_integer else "number"
        readings = [(expected, found)]
        if gold.is_percent and not answer.is_percent:
            readings.append((_take_percent(expected), found))
        elif answer.is_percent and not gold.is_percent:
            readings.append((expected, _take_percent(found)))
        is_equal = any(are_close(a, b, tolerance=tolerance) for a, b in readings)
        return _decide(is_equal=is_equal, layer=layer)
    if squeeze(gold.value) == squeeze(answer.value):
        return _decide(is_equal=True, layer="string")
    brackets = (_outer_brackets(gold.value), _outer_brackets(answer.value))
    if None not in brackets and brackets[0] != brackets[1]:
        return _decide(is_equal=False, layer="string")
    return None


def _take_percent(numeral: Numeral) -> Numeral:
    return replace(numeral, value=numeral.value / 100)


def _pair_up(gold: PlainAnswer, answer: PlainAnswer) -> tuple[AlgebraicPair, ...]:
    pairs = [AlgebraicPair(gold=gold.value, answer=answer.value)]
    if gold.is_percent and not answer.is_percent:
        pairs.append(AlgebraicPair(gold=rf"\frac{{{gold.value}}}{{100}}", answer=answer.value))
    elif answer.is_percent and not gold.is_percent:
        pairs.append(AlgebraicPair(gold=gold.value, answer=rf"\frac{{{answer.value}}}{{100}}"))
    return tuple(pairs)


def _units_agree(gold: PlainAnswer, answer: PlainAnswer) -> bool:
    """Units contradict each other only where both are known; a missing one is no fault."""
    is_strict = gold.has_known_unit and answer.has_known_unit
    return not is_strict or gold.unit == answer.unit


def _outer_brackets(value: str) -> tuple[str, str] | None:
    """Return the brackets around a list, as in "[1, 2)"; None where the value is no such list."""
    text = value.strip()
    opener = next((bracket for bracket in _OPENERS if text.startswith(bracket)), None)
    closer = next((bracket for bracket in _CLOSERS if text.endswith(bracket)), None)
    if opener is None or closer is None:
        return None
    depth, has_comma = 0, False
    inner = text[len(opener) : -len(closer)]
    for token in re.findall(r"\\[{}]|[()\[\]{},]", inner):
        depth += 1 if token in ("(", "[", "{", r"\{") else 0
        depth -= 1 if token in (")", "]", "}", r"\}") else 0
        has_comma = has_comma or (token == "," and depth == 0)
        if depth < 0:
            return None
    return (opener, closer) if has_comma else None


def _nesting(text: str) -> int:
    depth = deepest = 0
    for character in text:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
    return deepest


def _fold(text: str) -> str:
    return " ".join(text.split()).casefold()


def _decide(*, is_equal: bool, layer: str) -> Decision:
    return Decision(verdict=Verdict.CORRECT if is_equal else Verdict.INCORRECT, layer=layer)


def _gold_error() -> Decision:
    return Decision(verdict=Verdict.GOLD_ERROR, layer=None)
