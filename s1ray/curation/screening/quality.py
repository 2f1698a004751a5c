"""Named filters on a question's text and its trace; each is a fact of s1's notebook.

A filter knows one item. Which filters run, and with which numbers, is configuration.
"""

import re
from collections.abc import Callable, Collection, Sequence
from enum import StrEnum

from s1ray.config.curation import QualityConfig
from s1ray.curation.pool.items import PoolItem, Reason

_BOLD_NUMBER = re.compile(r"\*\*(?=.*\d)[^\s\]]*\*\*")
_PART = re.compile(r"p([1-9][0-9]*)\.")


class QualityFilter(StrEnum):
    """What s1 filters out, by name."""

    MISSING_TRACE = "missing_trace"
    """The teacher's thinking or answer is missing: its interface returned an error."""
    ASYMPTOTE = "asymptote"
    """The question holds a figure as Asymptote code, and its source is not excepted."""
    IMAGE_REFERENCE = "image_reference"
    """The question refers to an image by s1's marker."""
    PART_REFERENCE = "part_reference"
    """The question holds "p1.", "p2.", ...: several problems in one row."""
    BOLD_NUMBER = "bold_number"
    """The question holds a number in bold: the row belongs to a numbered list."""


def find_quality_reason(
    item: PoolItem,
    *,
    filters: Sequence[QualityFilter],
    asymptote_sources: Collection[str],
    max_part: int,
) -> Reason | None:
    """Return the first filter that drops the item, or None to keep it.

    Args:
        item: The question with its trace.
        filters: In the order they are tried.
        asymptote_sources: Sources whose Asymptote figures stay.
        max_part: Largest i of "p{i}." that counts.

    Source: simplescaling/s1 data/filter.ipynb. "p{i}." is a plain substring there too, so that
    "step1." matches.
    """
    text = item.trace.question.text
    checks: dict[QualityFilter, Callable[[], bool]] = {
        QualityFilter.MISSING_TRACE: lambda: not (item.trace.thinking and item.trace.answer),
        QualityFilter.ASYMPTOTE: lambda: (
            "[asy]" in text and item.trace.question.source not in asymptote_sources
        ),
        QualityFilter.IMAGE_REFERENCE: lambda: "![Image]" in text,
        QualityFilter.PART_REFERENCE: lambda: _holds_part(text, max_part=max_part),
        QualityFilter.BOLD_NUMBER: lambda: _BOLD_NUMBER.search(text) is not None,
    }
    for name in filters:
        if checks[name]():
            return Reason(name=name.value, evidence={})
    return None


def judge_quality(config: QualityConfig) -> Callable[[PoolItem], Reason | None]:
    """Return a judge of pool items."""
    filters = tuple(QualityFilter(name) for name in config.filters)
    return lambda item: find_quality_reason(
        item,
        filters=filters,
        asymptote_sources=config.asymptote_sources,
        max_part=config.max_part,
    )


def _holds_part(text: str, *, max_part: int) -> bool:
    return any(int(number) <= max_part for number in _PART.findall(text))
