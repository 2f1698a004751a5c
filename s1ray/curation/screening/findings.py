"""From the surveys of a whole pool to the judges of its items; no text is held.

Surveys come in the pool's order. Their sketches lie in a file; in memory stay two to three
hundred bytes for each row, and a reason for each row that will be dropped.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import NDArray

from s1ray.closing import ClosedAtEnd
from s1ray.config.curation import (
    DecontaminationConfig,
    NearDuplicatesConfig,
    S1DecontaminationConfig,
)
from s1ray.curation.pool.items import PoolItem, ProtectedQuestion, Reason
from s1ray.curation.screening.decontamination import (
    Judge,
    describe_near,
    find_boilerplate,
    find_overlap_reason,
    index_protected,
    judge_s1,
)
from s1ray.curation.screening.deduplication import describe_near_duplicate, describe_same
from s1ray.curation.screening.screening import ScreeningJudges
from s1ray.curation.screening.survey import BAND_BYTES, KEY_BYTES, Survey


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedItem:
    """A survey and where its item stands."""

    origin: str
    survey: Survey


class PoolFindings(ClosedAtEnd):
    """Collects surveys, then says which items repeat others or overlap with benchmarks."""

    def __init__(
        self,
        protected: Sequence[ProtectedQuestion],
        *,
        config: DecontaminationConfig,
        ngrams: Sequence[str],
    ) -> None:
        """Begin without a survey.

        Args:
            protected: The benchmarks' questions.
            config: As the surveyors were given it.
            ngrams: Of the surveyors: what their numbers mean.
        """
        self._protected, self._config, self._ngrams = protected, config, ngrams
        self._origins: list[str] = []
        self._keys, self._bands = bytearray(), bytearray()
        self._sketched: list[int] = []
        self._sketches = TemporaryFile()  # noqa: SIM115 - closed by close()
        self._counts: Counter[int] = Counter()
        self._suspects: dict[str, Reason | None] = {}

    def add(self, items: Iterable[SurveyedItem]) -> None:
        """Take surveys, in the pool's order."""
        for item in items:
            survey = item.survey
            if survey.sketch:
                self._sketched.append(len(self._origins))
                self._sketches.write(survey.sketch)
                self._bands += survey.bands
            self._origins.append(item.origin)
            self._keys += survey.key
            self._counts.update(survey.ngrams)
            near = None
            if survey.near_protected >= 0:
                question = self._protected[survey.near_protected]
                near = describe_near(question, similarity=survey.near_similarity)
            if survey.ngrams or survey.is_same or near is not None:
                self._suspects[item.origin] = near

    def judge(self) -> ScreeningJudges:
        """Return judges that decide as those that see one item after the other.

        Raises:
            ValueError: Two items have one origin, so that a judge could not tell them apart.
        """
        _refuse_repeated(self._origins)
        firsts = self._find_firsts()
        repeats = {
            self._origins[row]: describe_same(self._origins[first])
            for row, first in enumerate(firsts.tolist())
            if first != row
        }
        near = None
        if not isinstance(self._config, S1DecontaminationConfig) and self._config.near_duplicates:
            reasons = self._find_near(firsts, config=self._config.near_duplicates)
            near = _look_up(reasons)
        return ScreeningJudges(
            distinct=_look_up(repeats), near=near, contamination=self._judge_contamination()
        )

    def _find_firsts(self) -> NDArray[np.int64]:
        """Return for every row the first row of the same key."""
        keys = np.frombuffer(self._keys, dtype="u8").reshape(-1, KEY_BYTES // 8)
        order = np.lexsort(tuple(keys.T))
        ranked = keys[order]
        begins = np.ones(len(order), dtype=bool)
        begins[1:] = (ranked[1:] != ranked[:-1]).any(axis=1)
        # lexsort is stable: a group's first member is its first row.
        starts = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
        firsts = np.empty(len(order), dtype=np.int64)
        firsts[order] = order[starts]
        return firsts

    def _find_near(
        self, firsts: NDArray[np.int64], *, config: NearDuplicatesConfig
    ) -> dict[str, Reason]:
        """Return why rows that are nearly an earlier, kept one are dropped."""
        rows = np.asarray(self._sketched, dtype=np.int64)
        if not len(rows):
            return {}
        is_first = firsts[rows] == rows
        buckets = self._list_buckets(is_first)
        self._sketches.flush()
        sketches = np.memmap(
            self._sketches, dtype=np.uint32, mode="r", shape=(len(rows), config.num_permutations)
        )
        kept: dict[int, list[int]] = {}
        reasons: dict[str, Reason] = {}
        for place, shared in sorted(buckets.items()):
            earlier = sorted({other for bucket in shared for other in kept.get(bucket, ())})
            shares = (sketches[earlier] == sketches[place]).mean(axis=1) if earlier else []
            similarity, first = max(
                (
                    (float(share), self._origins[rows[other]])
                    for share, other in zip(shares, earlier, strict=True)
                ),
                default=(0.0, ""),
            )
            if similarity >= config.min_similarity:
                origin = self._origins[rows[place]]
                reasons[origin] = describe_near_duplicate(first, similarity=similarity)
                continue
            for bucket in shared:
                kept.setdefault(bucket, []).append(place)
        return reasons

    def _list_buckets(self, is_first: NDArray[np.bool_]) -> dict[int, list[int]]:
        """Return, for every sketch that shares a band with another one, the shared buckets."""
        bands = np.frombuffer(self._bands, dtype=f"u{BAND_BYTES}").reshape(len(is_first), -1)
        places = np.flatnonzero(is_first)
        buckets: dict[int, list[int]] = {}
        num_buckets = 0
        for column in range(bands.shape[1]):
            values, bucket_of, sizes = np.unique(
                bands[places, column], return_inverse=True, return_counts=True
            )
            for index in np.flatnonzero(sizes[bucket_of] > 1).tolist():
                buckets.setdefault(int(places[index]), []).append(
                    num_buckets + int(bucket_of[index])
                )
            num_buckets += len(values)
        return buckets

    def _judge_contamination(self) -> Judge:
        config, suspects = self._config, self._suspects
        if isinstance(config, S1DecontaminationConfig):
            return judge_s1(self._protected, config=config)
        counts = {self._ngrams[number]: count for number, count in self._counts.items()}
        boilerplate = find_boilerplate(counts, max_questions=config.max_ngram_questions)
        index = index_protected(self._protected, config=config, boilerplate=boilerplate)

        def judge(item: PoolItem) -> Reason | None:
            if item.origin not in suspects:
                return None
            reason = find_overlap_reason(item.trace.question.text, index=index)
            return suspects[item.origin] if reason is None else reason

        return judge

    def close(self) -> None:
        """Delete the sketches."""
        self._sketches.close()


def _refuse_repeated(origins: Iterable[str]) -> None:
    # Sorted here once: a set beside the list would cost memory for every row until the end.
    repeated = next((one for one, other in pairwise(sorted(origins)) if one == other), None)
    if repeated is not None:
        raise ValueError(
            f"two items of the pool have the origin {repeated!r}, and would be dropped for each "
            "other's reasons. Give every item an origin of its own, and survey none twice."
        )


def _look_up(reasons: dict[str, Reason]) -> Judge:
    return lambda item: reasons.get(item.origin)
