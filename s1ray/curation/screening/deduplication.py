"""Questions that stand in a pool more than once, literally or nearly.

Near-duplicates are found by MinHash: a small index over hashes of the questions, never over their
texts. A sketch depends on one text alone, so that batches can be sketched anywhere; only the index
has a state.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray

from s1ray.config.curation import NearDuplicatesConfig
from s1ray.curation.pool.items import PoolItem, Reason
from s1ray.curation.screening.words import list_ngrams, split_words

Judge = Callable[[PoolItem], Reason | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class NearMatch:
    """The most similar text of an index."""

    name: str
    similarity: float
    """Estimated Jaccard similarity of the runs of words."""


class Sketcher:
    """Makes MinHashes that can be compared with one another."""

    def __init__(self, config: NearDuplicatesConfig) -> None:
        self._shingle_words = config.shingle_words
        # Drawing the permutations costs more than sketching a question: copies share them.
        self._empty = MinHash(num_perm=config.num_permutations, seed=config.seed)
        self._last: tuple[str, MinHash | None] = ("", None)

    def sketch(self, text: str) -> MinHash | None:
        """Return the text's MinHash; None for a text too short to have a run of words.

        The last one is remembered: two steps sketch each question.
        """
        if text != self._last[0]:
            self._last = (text, self._sketch(text))
        return self._last[1]

    def _sketch(self, text: str) -> MinHash | None:
        shingles = set(list_ngrams(split_words(text), size=self._shingle_words))
        if not shingles:
            return None
        minhash = self._empty.copy()
        minhash.update_batch([shingle.encode() for shingle in shingles])
        return minhash


class NearIndex:
    """Finds the most similar text added so far."""

    def __init__(self, config: NearDuplicatesConfig) -> None:
        self._min_similarity = config.min_similarity
        self._index = MinHashLSH(threshold=config.min_similarity, num_perm=config.num_permutations)
        self._hashes: dict[str, NDArray[np.generic]] = {}

    def add(self, name: str, sketch: MinHash) -> None:
        """Add a text under its name."""
        self._index.insert(name, sketch, check_duplication=False)
        self._hashes[name] = sketch.hashvalues.copy()

    def find(self, sketch: MinHash) -> NearMatch | None:
        """Return the most similar text, if it is similar enough."""
        found = [
            (float(np.mean(self._hashes[name] == sketch.hashvalues)), name)
            for name in self._index.query(sketch)
        ]
        similarity, name = max(found, default=(0.0, ""))
        if similarity < self._min_similarity:
            return None
        return NearMatch(name=name, similarity=similarity)


def judge_distinct(key: Callable[[str], str]) -> Judge:
    """Return a judge that drops every question whose key came before.

    Args:
        key: What makes two question texts one.
    """
    first_origins: dict[str, str] = {}

    def judge(item: PoolItem) -> Reason | None:
        first = first_origins.setdefault(key(item.trace.question.text), item.origin)
        if first == item.origin:
            return None
        return describe_same(first)

    return judge


def judge_near(config: NearDuplicatesConfig, *, sketcher: Sketcher) -> Judge:
    """Return a judge that drops every question that is nearly one before it."""
    index = NearIndex(config)

    def judge(item: PoolItem) -> Reason | None:
        sketch = sketcher.sketch(item.trace.question.text)
        found = None if sketch is None else index.find(sketch)
        if found is not None:
            return describe_near_duplicate(found.name, similarity=found.similarity)
        if sketch is not None:
            index.add(item.origin, sketch)
        return None

    return judge


def describe_same(first: str) -> Reason:
    """Return why a question is dropped that stands at ``first`` already."""
    return Reason(name="same_question", evidence={"first": first})


def describe_near_duplicate(first: str, *, similarity: float) -> Reason:
    """Return why a question is dropped that is nearly the one at ``first``."""
    return Reason(
        name="near_duplicate", evidence={"first": first, "similarity": round(similarity, 4)}
    )
