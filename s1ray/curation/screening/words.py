"""How a question's text is cut into words and runs of words before texts are compared."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

_SPACING = re.compile(r"\\[,;:!> ]|~|\\(?:left|right|displaystyle|quad|qquad)(?![a-zA-Z])")
_WORDS = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[+\-*/=<>^]")


def split_words_s1(text: str) -> list[str]:
    """Return the words s1 compares: lower case, split at white space, punctuation kept.

    Source: simplescaling/s1 data/decontaminate_util.py.
    """
    return text.lower().split()


@lru_cache(maxsize=4)
def split_words(text: str) -> tuple[str, ...]:
    """Return words that survive typesetting: no punctuation, LaTeX spacing or braces.

    Operators stay words, for "3 + 5" and "3 - 5" are two questions; numbers and letters part, for
    "2x" and "2 x" are one. The steps of curation look at one question after another, so that the
    last few are remembered.
    """
    text = _SPACING.sub(" ", text).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    return tuple(_WORDS.findall(text.lower()))


def spell_key(text: str) -> str:
    r"""Return what two spellings of one question share: its words without any spaces.

    Without spaces, "\frac12" and "\frac{1}{2}" are equal too.
    """
    return "".join(split_words(text))


def list_ngrams(words: Sequence[str], *, size: int) -> Iterator[str]:
    """Yield the runs of ``size`` words; none where there are fewer words."""
    for start in range(len(words) - size + 1):
        yield " ".join(words[start : start + size])
