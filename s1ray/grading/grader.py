"""From a completion's text and the gold answer to a verdict, layer by layer.

The cheap layers decide at once; what needs algebra is handed back as an open comparison, so that
a pool can run it in a process it can kill. This module knows neither processes nor files.
"""

from dataclasses import dataclass

from s1ray.config.grading import GradingConfig
from s1ray.grading.algebra import Outcome, compare_expressions
from s1ray.grading.compat import grade_like_s1
from s1ray.grading.equivalence import AlgebraicPair, Decision, Judge, compare
from s1ray.grading.extraction import extract_answer
from s1ray.records import AnswerKind, GradedAnswer, Verdict

JUDGE_REFUSED = "judge_refused"
"""The layer of an answer that stays incorrect because the judge refuses to compare it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenComparison:
    """An answer whose verdict is left to algebra."""

    extracted: str
    pairs: tuple[AlgebraicPair, ...]


def grade_answer(
    text: str, *, gold: str, kind: AnswerKind, config: GradingConfig, judge: Judge | None
) -> GradedAnswer:
    """Grade one text in this process; algebra may then take for ever (see ``GraderPool``).

    Args:
        text: The answer part of a completion, or all of it with its delimiters.
        gold: The gold answer.
        kind: How the two are compared.
        config: Where an answer may stand, and the limits of a comparison.
        judge: Asked only where no layer found the answer equal; None for no judge.
    """
    started = start_grading(text, gold=gold, kind=kind, config=config)
    if isinstance(started, OpenComparison):
        started = finish_grading(started, outcome=compare_expressions(started.pairs))
    if judge is None or not is_open_to_judge(started, kind=kind):
        return started
    return ask_judge(started, gold=gold, judge=judge)


def is_open_to_judge(graded: GradedAnswer, *, kind: AnswerKind) -> bool:
    """Whether a judge may have a say: an answer that no layer found equal, and no letter."""
    is_incorrect = graded.verdict is Verdict.INCORRECT
    return is_incorrect and graded.extracted is not None and kind is not AnswerKind.LETTER


def ask_judge(graded: GradedAnswer, *, gold: str, judge: Judge) -> GradedAnswer:
    """Return what the judge says of an extracted answer; it sees nothing else of the sample.

    Where it refuses to say anything, the answer stays incorrect, as the other layers found it.
    """
    assert graded.extracted is not None
    is_equal = judge(gold=gold, answer=graded.extracted)
    return GradedAnswer(
        verdict=Verdict.CORRECT if is_equal else Verdict.INCORRECT,
        extracted=graded.extracted,
        layer=JUDGE_REFUSED if is_equal is None else "judge",
    )


def start_grading(
    text: str, *, gold: str, kind: AnswerKind, config: GradingConfig
) -> GradedAnswer | OpenComparison:
    """Grade a text as far as that goes without algebra; arguments as in ``grade_answer``.

    Args:
        text: As ``grade_answer`` takes it.
        gold: Likewise.
        kind: Likewise.
        config: Likewise.
    """
    if config.compat == "s1":
        return grade_like_s1(text, gold=gold, kind=kind)
    if not gold.strip():
        return GradedAnswer(verdict=Verdict.GOLD_ERROR, extracted=None, layer=None)
    extracted = extract_answer(
        text, kind=kind, forms=config.forms, max_bare_characters=config.max_bare_characters
    )
    if extracted is None:
        return GradedAnswer(verdict=Verdict.NO_ANSWER, extracted=None, layer=None)
    result = compare_extracted(extracted, gold=gold, kind=kind, config=config)
    if isinstance(result, Decision):
        return GradedAnswer(verdict=result.verdict, extracted=extracted, layer=result.layer)
    return result


def compare_extracted(
    answer: str, *, gold: str, kind: AnswerKind, config: GradingConfig
) -> Decision | OpenComparison:
    """Compare an extracted answer with another as far as that goes without algebra.

    Args:
        answer: As extracted.
        gold: What it is held against.
        kind: Of both.
        config: How they are compared.
    """
    result = compare(
        answer,
        gold=gold,
        kind=kind,
        max_answer_characters=config.max_answer_characters,
        max_answer_nesting=config.max_answer_nesting,
        tolerance=config.tolerance,
    )
    return (
        result if isinstance(result, Decision) else OpenComparison(extracted=answer, pairs=result)
    )


def finish_grading(comparison: OpenComparison, *, outcome: Outcome) -> GradedAnswer:
    """Return the verdict that algebra's outcome means.

    A gold answer that is no mathematics, such as a name, leaves the string layer's "different".
    """
    verdict = Verdict.CORRECT if outcome is Outcome.EQUAL else Verdict.INCORRECT
    layer = "string" if outcome is Outcome.GOLD_UNREADABLE else "math_verify"
    return GradedAnswer(verdict=verdict, extracted=comparison.extracted, layer=layer)
