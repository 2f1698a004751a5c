"""Which pool questions overlap with a benchmark's, and the evidence for it.

It knows texts and protected questions, not files. Except where s1 also compares a source with the
sources before it, each question is judged alone against an index, so that batches can be judged
anywhere.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from sys import intern

from s1ray.config.curation import (
    DecontaminationConfig,
    NearDuplicatesConfig,
    OverlapDecontaminationConfig,
    S1DecontaminationConfig,
)
from s1ray.curation.pool.items import PoolItem, ProtectedQuestion, Reason
from s1ray.curation.screening.deduplication import NearIndex, Sketcher
from s1ray.curation.screening.words import list_ngrams, spell_key, split_words, split_words_s1

Judge = Callable[[PoolItem], Reason | None]

_SHOWN_NGRAMS = 3


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
    """The whole spelling of a protected question, which finds it however short it is."""
    protected: tuple[ProtectedQuestion, ...]


def judge_contamination(
    texts: Iterable[str],
    *,
    protected: Sequence[ProtectedQuestion],
    config: DecontaminationConfig,
    sketcher: Sketcher | None,
) -> Judge:
    """Return a judge of pool items.

    Args:
        texts: The pool's questions, from which the overlap mode learns what is boilerplate.
        protected: The benchmarks' questions.
        config: Which comparison, with its numbers.
        sketcher: Finds near-duplicates; None where ``config`` asks for none.
    """
    if isinstance(config, S1DecontaminationConfig):
        return judge_s1(protected, config=config)
    find_near = None
    if config.near_duplicates is not None and sketcher is not None:
        find_near = _near_finder(protected, config=config.near_duplicates, sketcher=sketcher)
    return _judge_overlap(texts, protected=protected, config=config, find_near=find_near)


def index_s1(protected: Sequence[ProtectedQuestion], *, ngram_size: int) -> S1Index:
    """Prepare s1's comparison."""
    owners = _own(
        [set(list_ngrams(split_words_s1(item.text), size=ngram_size)) for item in protected]
    )
    return S1Index(ngram_size=ngram_size, owners=owners, protected=tuple(protected))


def index_protected(
    protected: Sequence[ProtectedQuestion],
    *,
    config: OverlapDecontaminationConfig,
    boilerplate: Collection[str],
) -> OverlapIndex:
    """Prepare the thresholded comparison.

    Args:
        protected: The benchmarks' questions.
        config: Its numbers.
        boilerplate: n-grams that count for nothing; see ``find_boilerplate``.
    """
    ignored = frozenset(boilerplate)
    ngrams = [
        set(list_ngrams(split_words(item.text), size=config.ngram_size)) - ignored
        for item in protected
    ]
    return OverlapIndex(
        ngram_size=config.ngram_size,
        min_overlap=config.min_overlap,
        owners=_own(ngrams),
        num_ngrams=tuple(len(found) for found in ngrams),
        boilerplate=ignored,
        whole={spell_key(item.text): number for number, item in enumerate(protected)},
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
        counts.update(ngram for ngram in found if ngram in protected_ngrams)
    return counts


def find_boilerplate(counts: Mapping[str, int], *, max_questions: int) -> frozenset[str]:
    """Return the n-grams that more than ``max_questions`` pool questions share."""
    return frozenset(ngram for ngram, count in counts.items() if count > max_questions)


def find_s1_reason(text: str, *, index: S1Index) -> Reason | None:
    """Return the overlap that drops a question in s1's way: any shared n-gram.

    Source: simplescaling/s1 data/decontaminate_util.py.
    """
    for ngram in list_ngrams(split_words_s1(text), size=index.ngram_size):
        owners = index.owners.get(ngram)
        if owners is not None:
            item = index.protected[owners[0]]
            return _describe(item, match="any_ngram", overlap=None, ngrams=[ngram])
    return None


def find_overlap_reason(text: str, *, index: OverlapIndex) -> Reason | None:
    """Return the overlap that drops a question: the same spelling, or enough shared n-grams."""
    same = index.whole.get(spell_key(text))
    if same is not None:
        return _describe(index.protected[same], match="same_words", overlap=1.0, ngrams=[])
    ngrams = set(list_ngrams(split_words(text), size=index.ngram_size)) - index.boilerplate
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


class _EarlierSources:
    """The first source of every n-gram so far; the sources' items may come in any order.

    Traces keep their questions' sources and mix them. Holds hashes, not texts: about 90 bytes for
    each distinct n-gram of the pool.
    """

    def __init__(self, *, ngram_size: int) -> None:
        self._size = ngram_size
        self._sources: dict[int, str] = {}

    def judge(self, item: PoolItem) -> Reason | None:
        question = item.trace.question
        # Every row read brings a copy of the name; one for all is kept.
        source = intern(question.source)
        ngrams = list(list_ngrams(split_words_s1(question.text), size=self._size))
        hashes = [hash(ngram) for ngram in ngrams]
        for ngram, value in zip(ngrams, hashes, strict=True):
            if self._sources.get(value, source) != source:
                return Reason(name="earlier_source", evidence={"ngrams": [ngram]})
        self._sources.update(dict.fromkeys(hashes, source))
        return None


def judge_s1(protected: Sequence[ProtectedQuestion], *, config: S1DecontaminationConfig) -> Judge:
    """Return a judge in s1's way; where it minds earlier sources, it must see every item."""
    index = index_s1(protected, ngram_size=config.ngram_size)
    earlier = _EarlierSources(ngram_size=config.ngram_size)

    def judge(item: PoolItem) -> Reason | None:
        reason = find_s1_reason(item.trace.question.text, index=index)
        if reason is None and config.against_earlier_sources:
            reason = earlier.judge(item)
        return reason

    return judge


def _judge_overlap(
    texts: Iterable[str],
    *,
    protected: Sequence[ProtectedQuestion],
    config: OverlapDecontaminationConfig,
    find_near: Callable[[str], Reason | None] | None,
) -> Judge:
    whole = index_protected(protected, config=config, boilerplate=())
    counts = count_ngrams(texts, protected_ngrams=whole.owners.keys(), ngram_size=config.ngram_size)
    boilerplate = find_boilerplate(counts, max_questions=config.max_ngram_questions)
    index = index_protected(protected, config=config, boilerplate=boilerplate)

    def judge(item: PoolItem) -> Reason | None:
        text = item.trace.question.text
        reason = find_overlap_reason(text, index=index)
        return find_near(text) if reason is None and find_near is not None else reason

    return judge


def near_index(
    protected: Sequence[ProtectedQuestion], *, config: NearDuplicatesConfig, sketcher: Sketcher
) -> NearIndex:
    """Return an index of the protected questions by their numbers."""
    index = NearIndex(config)
    for number, item in enumerate(protected):
        sketch = sketcher.sketch(item.text)
        if sketch is not None:
            index.add(str(number), sketch)
    return index


def describe_near(item: ProtectedQuestion, *, similarity: float) -> Reason:
    """Return why a question that is nearly a protected one is dropped."""
    return _describe(item, match="near", overlap=similarity, ngrams=[])


def _near_finder(
    protected: Sequence[ProtectedQuestion], *, config: NearDuplicatesConfig, sketcher: Sketcher
) -> Callable[[str], Reason | None]:
    index = near_index(protected, config=config, sketcher=sketcher)

    def find(text: str) -> Reason | None:
        sketch = sketcher.sketch(text)
        found = None if sketch is None else index.find(sketch)
        if found is None:
            return None
        return describe_near(protected[int(found.name)], similarity=found.similarity)

    return find


def _own(ngrams: Sequence[Collection[str]]) -> dict[str, tuple[int, ...]]:
    owners: dict[str, list[int]] = defaultdict(list)
    for number, found in enumerate(ngrams):
        for ngram in found:
            owners[ngram].append(number)
    return {ngram: tuple(numbers) for ngram, numbers in owners.items()}


def _describe(
    item: ProtectedQuestion, *, match: str, overlap: float | None, ngrams: list[str]
) -> Reason:
    return Reason(
        name=item.benchmark,
        evidence={
            "benchmark": item.benchmark,
            "item": item.item,
            "match": match,
            "overlap": None if overlap is None else round(overlap, 4),
            "ngrams": [] if item.is_private else ngrams[:_SHOWN_NGRAMS],
        },
    )
