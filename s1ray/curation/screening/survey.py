"""What one question contributes to decisions about the whole pool, in a few hundred bytes.

A survey depends on one text and the protected questions alone, so that texts can be surveyed
anywhere, in any order and number. What follows from all surveys together is ``findings``.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from datasketch import MinHashLSH

from s1ray.config.curation import DecontaminationConfig, S1DecontaminationConfig
from s1ray.curation.pool.items import ProtectedQuestion
from s1ray.curation.screening.decontamination import index_protected, near_index
from s1ray.curation.screening.deduplication import Sketcher
from s1ray.curation.screening.words import list_ngrams, spell_key, split_words

KEY_BYTES = 16
BAND_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is known of one question."""

    key: bytes
    """Digest of what makes two questions one."""
    ngrams: tuple[int, ...]
    """Numbers of the protected n-grams that it holds; see ``Surveyor.ngrams``."""
    is_same: bool
    """Whether a protected question has the same words."""
    sketch: bytes
    """MinHash values as uint32; empty for a question too short to have one."""
    bands: bytes
    """Digests of the sketch's bands: near-duplicates share one. Empty with the sketch."""
    near_protected: int
    """Number of the nearest protected question that is near enough; -1 for none."""
    near_similarity: float


class Surveyor:
    """Surveys texts; every copy made from the same questions gives the same surveys."""

    def __init__(
        self, protected: Sequence[ProtectedQuestion], *, config: DecontaminationConfig
    ) -> None:
        """Prepare the indexes of the protected questions."""
        self._is_s1 = isinstance(config, S1DecontaminationConfig)
        self.ngrams: tuple[str, ...] = ()
        """Every protected n-gram, sorted: the same number means the same in every process."""
        self._sketcher = None
        if isinstance(config, S1DecontaminationConfig):
            return
        whole = index_protected(protected, config=config, boilerplate=())
        self._whole = whole.whole.keys()
        self._size = config.ngram_size
        self.ngrams = tuple(sorted(whole.owners))
        self._numbers = {ngram: number for number, ngram in enumerate(self.ngrams)}
        near = config.near_duplicates
        if near is not None:
            self._sketcher = Sketcher(near)
            self._near = near_index(protected, config=near, sketcher=self._sketcher)
            lsh = MinHashLSH(threshold=near.min_similarity, num_perm=near.num_permutations)
            self._bands = [(start * lsh.r, (start + 1) * lsh.r) for start in range(lsh.b)]

    def survey(self, text: str) -> Survey:
        """Survey one question."""
        if self._is_s1:
            return _describe(text, key=text)
        key = spell_key(text)
        found = set(list_ngrams(split_words(text), size=self._size)) & self._numbers.keys()
        survey = _describe(
            text,
            key=key,
            ngrams=tuple(sorted(self._numbers[ngram] for ngram in found)),
            is_same=key in self._whole,
        )
        return self._add_sketch(text, survey)

    def _add_sketch(self, text: str, survey: Survey) -> Survey:
        sketch = None if self._sketcher is None else self._sketcher.sketch(text)
        if sketch is None:
            return survey
        near = self._near.find(sketch)
        values = sketch.hashvalues.astype(np.uint32)
        bands = (
            hashlib.blake2b(values[start:end].tobytes(), digest_size=BAND_BYTES).digest()
            for start, end in self._bands
        )
        return Survey(
            key=survey.key,
            ngrams=survey.ngrams,
            is_same=survey.is_same,
            sketch=values.tobytes(),
            bands=b"".join(bands),
            near_protected=-1 if near is None else int(near.name),
            near_similarity=0.0 if near is None else near.similarity,
        )


def _describe(
    text: str, *, key: str, ngrams: tuple[int, ...] = (), is_same: bool = False
) -> Survey:
    return Survey(
        key=hashlib.blake2b(key.encode(), digest_size=KEY_BYTES).digest(),
        ngrams=ngrams,
        is_same=is_same,
        sketch=b"",
        bands=b"",
        near_protected=-1,
        near_similarity=0.0,
    )
