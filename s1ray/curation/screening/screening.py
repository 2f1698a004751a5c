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
from s1ray.curation.funnel import FunnelRecorder, StepCount
from s1ray.curation.pool.items import PoolItem, ProtectedQuestion, RefusedRow
from s1ray.curation.screening.decontamination import Judge, judge_contamination
from s1ray.curation.screening.deduplication import Sketcher, judge_distinct, judge_near
from s1ray.curation.screening.quality import judge_quality
from s1ray.curation.screening.words import spell_key


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreeningJudges:
    """Who decides in the steps that compare a question with others."""

    distinct: Judge
    near: Judge | None
    """None where near-duplicates stay."""
    contamination: Judge


def judge_in_turn(
    pool: Iterable[PoolItem | RefusedRow],
    *,
    protected: Sequence[ProtectedQuestion],
    config: DecontaminationConfig,
) -> ScreeningJudges:
    """Return judges that remember every item they saw; each item once, in the pool's order."""
    # s1 compares the texts as they are; the other mode also sees through typesetting.
    is_s1 = isinstance(config, S1DecontaminationConfig)
    near = None if isinstance(config, S1DecontaminationConfig) else config.near_duplicates
    sketcher = None if near is None else Sketcher(near)
    texts = (row.trace.question.text for row in pool if isinstance(row, PoolItem))
    return ScreeningJudges(
        distinct=judge_distinct(str if is_s1 else spell_key),
        near=None if near is None or sketcher is None else judge_near(near, sketcher=sketcher),
        contamination=judge_contamination(
            texts, protected=protected, config=config, sketcher=sketcher
        ),
    )


def sift_pool(
    pool: Iterable[PoolItem | RefusedRow],
    *,
    judges: ScreeningJudges,
    rules: CurationRules,
    recorder: FunnelRecorder,
) -> Iterator[PoolItem]:
    """Return the items that pass, lazily; ``pool`` is read once.

    Args:
        pool: Items, and rows that were refused while reading.
        judges: One for every step.
        rules: Of the steps.
        recorder: Counts every step.

    Raises:
        ValueError: While reading, too many rows are bad or repeated, or an id stands for two
            questions.
    """
    items = recorder.admit(pool, step="sources")
    items = _sift_distinct(items, judge=judges.distinct, rules=rules, recorder=recorder)
    items = _check_ids(items)
    if judges.near is not None:
        items = recorder.sift(items, step="deduplicate_near", judge=judges.near)
    items = recorder.sift(items, step="decontaminate", judge=judges.contamination)
    return recorder.sift(items, step="quality", judge=judge_quality(rules.quality))


def _check_ids(items: Iterator[PoolItem]) -> Iterator[PoolItem]:
    """Pass items on as long as no two of them, whose texts differ, have one id."""
    origins: dict[str, str] = {}
    for item in items:
        identifier = item.trace.question.id
        first = origins.setdefault(identifier, item.origin)
        if first != item.origin:
            raise ValueError(
                f"the question id {identifier!r} stands for two questions, {first} and "
                f"{item.origin}; verdicts, labels and selections know a question by its id. Give "
                "each row of the traces an id of its own, such as a digest of its text."
            )
        yield item


def _sift_distinct(
    items: Iterator[PoolItem],
    *,
    judge: Judge,
    rules: CurationRules,
    recorder: FunnelRecorder,
) -> Iterator[PoolItem]:
    count = recorder.open("deduplicate", stand_in=None)
    items = recorder.sift_into(items, count=count, judge=judge)
    return _check_duplicates(items, count=count, max_fraction=rules.max_duplicate_fraction)


def _check_duplicates(
    items: Iterator[PoolItem], *, count: StepCount, max_fraction: float
) -> Iterator[PoolItem]:
    yield from items
    repeated = count.reasons.total()
    if repeated > max_fraction * count.num_in:
        raise ValueError(
            f"{repeated} of the pool's {count.num_in} questions repeat another one, more than "
            f"pool.max_duplicate_fraction={max_fraction:g} allows; the run's rejected.jsonl names "
            "each with the first of its kind. Remove the repeated rows, or the source that holds "
            "another one's, or raise pool.max_duplicate_fraction."
        )
