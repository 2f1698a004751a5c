"""Curation's steps one after the other in one call; groups of conf/ as tests change them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pydantic import TypeAdapter

from s1ray.config.curation import (
    DecontaminationConfig,
    NoDifficultyConfig,
    QualityConfig,
    SelectionConfig,
    SourceDiversityConfig,
)
from s1ray.curation.choice.difficulty import Verdicts
from s1ray.curation.curate import CountTokens, Curation, choose
from s1ray.curation.funnel import FunnelRecorder
from s1ray.curation.pool.items import PoolItem, ProtectedQuestion, RefusedRow, Rejection
from s1ray.curation.screening.screening import CurationRules, judge_in_turn, sift_pool

CONF = Path(__file__).parents[2] / "conf"


def screen_pool(
    pool: Iterable[PoolItem | RefusedRow],
    *,
    protected: Sequence[ProtectedQuestion],
    rules: CurationRules,
    recorder: FunnelRecorder,
) -> Iterator[PoolItem]:
    """Return the items that pass, lazily, judged one after the other.

    Args:
        pool: Read more than once.
        protected: The benchmarks' questions.
        rules: Of the steps.
        recorder: Counts, and hands on every rejection.
    """
    judges = judge_in_turn(pool, protected=protected, config=rules.decontamination)
    return sift_pool(pool, judges=judges, rules=rules, recorder=recorder)


def curate(
    pool: Iterable[PoolItem | RefusedRow],
    *,
    protected: Sequence[ProtectedQuestion],
    verdicts: Verdicts,
    labels: Mapping[str, str] | None,
    count_tokens: CountTokens,
    rules: CurationRules,
    reject: Callable[[Rejection], None],
) -> Curation:
    """Run every step; see ``screen_pool`` and ``choose``.

    Args:
        pool: Rows as read.
        protected: Benchmark questions that no pool question may repeat.
        verdicts: As ``choose`` takes them.
        labels: Likewise.
        count_tokens: Likewise.
        rules: Of the steps.
        reject: Is told of every drop, with its evidence.
    """
    recorder = FunnelRecorder(reject=reject)
    screened = screen_pool(pool, protected=protected, rules=rules, recorder=recorder)
    return choose(
        screened,
        verdicts=verdicts,
        labels=labels,
        count_tokens=count_tokens,
        rules=rules,
        recorder=recorder,
    )


def compose_group(group: str, choice: str, **changes: object) -> dict[str, object]:
    """Return one choice of a group, changed key by key."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        content = OmegaConf.to_container(compose(overrides=[f"+{group}={choice}"]), resolve=True)
    assert isinstance(content, dict)
    return {**content[group], **changes}


def curate_by(selection: str, pool: Iterable[PoolItem | RefusedRow], **changes: object) -> Curation:
    """Curate with s1's decontamination, no difficulty and no filters.

    Args:
        selection: A choice of the group.
        pool: Read more than once.
        changes: Of the selection.
    """
    rules = CurationRules(
        max_duplicate_fraction=0.5,
        decontamination=TypeAdapter(DecontaminationConfig).validate_python(
            compose_group("decontamination", "s1")
        ),
        quality=QualityConfig(filters=(), asymptote_sources=(), max_part=1),
        difficulty=NoDifficultyConfig(kind="none"),
        diversity=SourceDiversityConfig(kind="source"),
        selection=TypeAdapter(SelectionConfig).validate_python(
            compose_group("selection", selection, **changes)
        ),
    )
    return curate(
        pool,
        protected=[],
        verdicts={},
        labels=None,
        count_tokens=len,
        rules=rules,
        reject=lambda _: None,
    )
