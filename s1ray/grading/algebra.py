"""The one place that asks Math-Verify whether two expressions are equal.

A comparison may take for ever or exhaust memory: callers run it in a process that can be killed
(see ``pool``). Math-Verify's own time-outs are off, since its signals work on the main thread
only. This module knows no texts, units or verdicts.
"""

import logging
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import Any

from s1ray.grading.equivalence import AlgebraicPair

logging.getLogger("math_verify").setLevel(logging.ERROR)


class Outcome(StrEnum):
    """What algebra says of a list of pairs."""

    EQUAL = "equal"
    DIFFERENT = "different"
    GOLD_UNREADABLE = "gold_unreadable"
    """The gold expression is no mathematics that could be compared."""


def compare_expressions(pairs: Sequence[AlgebraicPair]) -> Outcome:
    """Say whether one of the pairs is equal.

    Brackets tell open from closed intervals, and a set has no order where a tuple has one. A
    number agrees with a decimal of it to six places (Math-Verify's default).
    """
    from math_verify import verify  # noqa: PLC0415 - half a second, and not for every caller

    golds = [_parse(pair.gold) for pair in pairs]
    if all(isinstance(gold, str) or gold is None for gold in golds):
        return Outcome.GOLD_UNREADABLE
    for pair, gold in zip(pairs, golds, strict=True):
        answer = _parse(pair.answer)
        if answer is not None and gold is not None and verify(gold, answer, timeout_seconds=None):
            return Outcome.EQUAL
    return Outcome.DIFFERENT


def _parse(expression: str) -> Any:  # noqa: ANN401 - a sympy object, which has no common type
    from math_verify import parse  # noqa: PLC0415 - as above

    # One line, and no dollar inside: the expression is handed over as inline mathematics.
    source = f"${' '.join(expression.replace('$', ' ').split())}$"
    parsed = parse(source, extraction_config=[_read_latex_config()], parsing_timeout=None)
    return parsed[0] if parsed else None


@cache
def _read_latex_config() -> Any:  # noqa: ANN401 - Math-Verify is untyped
    from latex2sympy2_extended import NormalizationConfig  # noqa: PLC0415 - as above
    from math_verify.parser import LatexExtractionConfig  # noqa: PLC0415 - as above

    # Units are gone already; Math-Verify's own list holds single letters and would cut "3t" to 3.
    normalization = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none"
    )
    return LatexExtractionConfig(boxed_match_priority=-1, normalization_config=normalization)
