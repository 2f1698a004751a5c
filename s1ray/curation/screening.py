"""Which rows of a pool are worth a model's time: distinct, uncontaminated and of quality.

The steps run lazily, each over the survivors of the one before. Nothing here asks a model.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from s1ray.config.curation import (
    DecontaminationConfig,
    DifficultyConfig,
    DiversityConfig,
    QualityConfig,
    S1DecontaminationConfig,
    SelectionConfig,
)
from s1ray.curation.decontamination import judge_contamination
from s1ray.curation.deduplication import Sketcher, judge_distinct, judge_near
from s1ray.curation.funnel import FunnelRecorder, StepCount
from s1ray.curation.items import PoolItem, ProtectedQuestion, RefusedRow
from s1ray.curation.quality import judge_quality
from s1ray.curation.words import spell_key


@dataclass(frozen=True, slots=True, kw_only=True)
class CurationRules:
    """The configuration of every step."""

    max_duplicate_fraction: float
    """Share of the pool's questions that may repeat another one."""
    decontamination: DecontaminationConfig
    quality: QualityConfig
    difficulty: DifficultyConfig
    diversity: DiversityConfig
    selection: SelectionConfig


def screen_pool(
    pool: Iterable[PoolItem | RefusedRow],
    *,
    protected: Sequence[ProtectedQuestion],
    rules: CurationRules,
    recorder: FunnelRecorder,
) -> Iterator[PoolItem]:
    """Return the items that pass, lazily.

    Args:
        pool: In the order of its sources: of equal questions the first stays. It is read more
            than once, so it must not be an iterator.
        protected: The benchmarks' questions.
        rules: Of the steps.
        recorder: Counts, and hands on every rejection.

    Raises:
        ValueError: ``pool`` can be read only once; or, while reading, too many rows are bad or
            repeated.
    """
    if isinstance(pool, Iterator):
        raise ValueError(
            "the pool is an iterator, which can be read once, and boilerplate is counted before "
            "questions are judged. Hand over a sequence or a Pool."
        )
    config = rules.decontamination
    near = None if isinstance(config, S1DecontaminationConfig) else config.near_duplicates
    sketcher = None if near is None else Sketcher(near)
    items = _sift_distinct(recorder.admit(pool, step="sources"), rules=rules, recorder=recorder)
    if near is not None and sketcher is not None:
        judge = judge_near(near, sketcher=sketcher)
        items = recorder.sift(items, step="deduplicate_near", judge=judge, stand_in=None)
    texts = (row.trace.question.text for row in pool if isinstance(row, PoolItem))
    judge = judge_contamination(texts, protected=protected, config=config, sketcher=sketcher)
    items = recorder.sift(items, step="decontaminate", judge=judge, stand_in=None)
    return recorder.sift(items, step="quality", judge=judge_quality(rules.quality), stand_in=None)


def _sift_distinct(
    items: Iterator[PoolItem], *, rules: CurationRules, recorder: FunnelRecorder
) -> Iterator[PoolItem]:
    # s1 compares the texts as they are; the other mode also sees through typesetting.
    is_s1 = isinstance(rules.decontamination, S1DecontaminationConfig)
    count = recorder.open("deduplicate", stand_in=None)
    items = recorder.sift_into(
        items, count=count, judge=judge_distinct(str if is_s1 else spell_key)
    )
    return _check_duplicates(items, count=count, max_fraction=rules.max_duplicate_fraction)


def _check_duplicates(
    items: Iterator[PoolItem], *, count: StepCount, max_fraction: float
) -> Iterator[PoolItem]:
    yield from items
    repeated = count.reasons.total()
    if repeated > max_fraction * count.num_in:
        raise ValueError(
            f"{repeated} of the pool's {count.num_in} questions repeat another one, more than "
            f"pool.max_duplicate_fraction={max_fraction:g} allows. Remove a source from "
            "pool.sources that holds another one's questions, or raise "
            "pool.max_duplicate_fraction."
        )
