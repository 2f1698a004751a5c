"""Answers to grade that need Math-Verify, and one that it does not come back from."""

from s1ray.grading.pool import GradingItem
from s1ray.records import AnswerKind

POISON = GradingItem(text=r"\boxed{9^{9^9}}", gold=r"8^{8^8}+1", kind=AnswerKind.MATH)
"""Math-Verify alone does not come back from this comparison within minutes."""


def root_plus(number: int) -> GradingItem:
    """Return an answer that is right, and that only Math-Verify sees to be."""
    return GradingItem(
        text=rf"\boxed{{\sqrt{{2}} + {number}}}", gold=rf"{number}+\sqrt{{2}}", kind=AnswerKind.MATH
    )
