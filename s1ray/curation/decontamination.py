"""Which pool questions overlap with a benchmark's, and the evidence for it.

It knows texts and protected questions. It does not know files, and it keeps nothing of the pool:
each question is judged alone against an index, so that batches can be judged anywhere.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from s1ray.curation.items import ProtectedQuestion, Reason

_SHOWN_NGRAMS = 3
_SPACING = re.compile(r"\\[,;:!> ]|~|\\(?:left|right|displaystyle|quad|qquad)(?![a-zA-Z])")
_WORDS = re.compile(r"[^\W_]+|[+\-*/=<>^]")


def split_words_s1(text: str) -> list[str]:
    """Return the words s1 compares: lower case, split at white space, punctuation kept.

    Source: simplescaling/s1 data/decontaminate_util.py.
    """
    return text.lower().split()


def split_words(text: str) -> list[str]:
    """Return words that survive typesetting: no punctuation, LaTeX spacing or braces.

    Operators stay words, for "3 + 5" and "3 - 5" are two questions.
    """
    text = _SPACING.sub(" ", text).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    return _WORDS.findall(text.lower())


def list_ngrams(words: Sequence[str], *, size: int) -> Iterator[str]:
    """Yield the runs of ``size`` words; none where there are fewer words."""
    for start in range(len(words) - size + 1):
        yield " ".join(words[start : start + size])


@dataclass(frozen=True, slots=True, kw_only=True)
class S1Index:
    """The protected questions' n-grams, as s1 compares them."""

    ngram_size: int
    owners: Mapping[str, tuple[int, ...]]
    protected: tuple[ProtectedQuestion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapIndex:
    """The protected questions' n-grams less boilerplate, and their whole texts."""

    ngram_size: int
    min_overlap: float
    """Share of the shorter question's n-grams that must be shared to drop."""
    owners: Mapping[str, tuple[int, ...]]
    num_ngrams: tuple[int, ...]
    """Per protected question, how many of its n-grams are not boilerplate."""
    boilerplate: frozenset[str]
    whole: Mapping[str, int]
    """All words of a protected question, to find it where it is short."""
    protected: tuple[ProtectedQuestion, ...]


def index_s1(protected: Sequence[ProtectedQuestion], *, ngram_size: int) -> S1Index:
    """Prepare s1's comparison."""
    owners = _own(
        [set(list_ngrams(split_words_s1(item.text), size=ngram_size)) for item in protected]
    )
    return S1Index(ngram_size=ngram_size, owners=owners, protected=tuple(protected))


def index_overlap(
    protected: Sequence[ProtectedQuestion],
    *,
    ngram_size: int,
    min_overlap: float,
    boilerplate: Collection[str],
) -> OverlapIndex:
    """Prepare the thresholded comparison.

    Args:
        protected: The benchmarks' questions.
        ngram_size: In words, punctuation stripped.
        min_overlap: See ``OverlapIndex``.
        boilerplate: n-grams that count for nothing; see ``find_boilerplate``.
    """
    words = [split_words(item.text) for item in protected]
    kept = frozenset(boilerplate)
    ngrams = [set(list_ngrams(item, size=ngram_size)) - kept for item in words]
    return OverlapIndex(
        ngram_size=ngram_size,
        min_overlap=min_overlap,
        owners=_own(ngrams),
        num_ngrams=tuple(len(item) for item in ngrams),
        boilerplate=kept,
        whole={" ".join(item): number for number, item in reversed(list(enumerate(words)))},
        protected=tuple(protected),
    )


def count_ngrams(
    texts: Iterable[str], *, protected_ngrams: Collection[str], ngram_size: int
) -> Counter[str]:
    """Count, for each protected n-gram, the pool questions that hold it.

    Counts of parts of a pool add up, so that batches can be counted anywhere.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        found = set(list_ngrams(split_words(text), size=ngram_size))
        counts.update(found.intersection(protected_ngrams))
    return counts


def find_boilerplate(counts: Mapping[str, int], *, max_questions: int) -> frozenset[str]:
    """Return the n-grams that more than ``max_questions`` pool questions share."""
    return frozenset(ngram for ngram, count in counts.items() if count > max_questions)


def find_s1_reason(text: str, *, index: S1Index) -> Reason | None:
    """Return the overlap that drops a question in s1's way: any shared n-gram."""
    for ngram in list_ngrams(split_words_s1(text), size=index.ngram_size):
        owners = index.owners.get(ngram)
        if owners is not None:
            item = index.protected[owners[0]]
            return Reason(
                name=item.benchmark,
                evidence={"benchmark": item.benchmark, "item": item.item, "ngrams": [ngram]},
            )
    return None


def find_overlap_reason(text: str, *, index: OverlapIndex) -> Reason | None:
    """Return the overlap that drops a question: the same words, or enough shared n-grams."""
    words = split_words(text)
    same = index.whole.get(" ".join(words))
    if same is not None:
        return _describe(index.protected[same], match="same_words", overlap=1.0, ngrams=[])
    ngrams = set(list_ngrams(words, size=index.ngram_size)) - index.boilerplate
    shared: dict[int, list[str]] = defaultdict(list)
    for ngram in ngrams:
        for owner in index.owners.get(ngram, ()):
            shared[owner].append(ngram)
    best, best_overlap = None, 0.0
    for owner, found in sorted(shared.items()):
        overlap = len(found) / min(len(ngrams), index.num_ngrams[owner])
        if overlap > best_overlap:
            best, best_overlap = owner, overlap
    if best is None or best_overlap < index.min_overlap:
        return None
    return _describe(
        index.protected[best], match="ngrams", overlap=best_overlap, ngrams=sorted(shared[best])
    )


def _own(ngrams: Sequence[Collection[str]]) -> dict[str, tuple[int, ...]]:
    owners: dict[str, list[int]] = defaultdict(list)
    for number, found in enumerate(ngrams):
        for ngram in found:
            owners[ngram].append(number)
    return {ngram: tuple(numbers) for ngram, numbers in owners.items()}


def _describe(item: ProtectedQuestion, *, match: str, overlap: float, ngrams: list[str]) -> Reason:
    return Reason(
        name=item.benchmark,
        evidence={
            "benchmark": item.benchmark,
            "item": item.item,
            "match": match,
            "overlap": round(overlap, 4),
            "ngrams": ngrams[:_SHOWN_NGRAMS],
        },
    )
