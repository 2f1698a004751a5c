"""The whole of curation as one plain function: pool items in, chosen traces and the funnel out.

The steps run in a fixed order, each over the survivors of the one before, lazily. It asks no
model, reads no file and writes none: verdicts, labels and the way to count tokens are given.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from s1ray.config.curation import (
    DecontaminationConfig,
    DifficultyConfig,
    FullSelectionConfig,
    LengthKind,
    LevelDifficultyConfig,
    ModelsDifficultyConfig,
    QualityConfig,
    S1DecontaminationConfig,
    S1kSelectionConfig,
    SelectionConfig,
)
from s1ray.curation.decontamination import (
    count_ngrams,
    find_boilerplate,
    find_overlap_reason,
    find_s1_reason,
    index_overlap,
    index_s1,
)
from s1ray.curation.difficulty import Verdicts, find_level_reason, find_unsolved_reason
from s1ray.curation.diversity import find_domain
from s1ray.curation.funnel import Funnel, FunnelRecorder
from s1ray.curation.items import PoolItem, ProtectedQuestion, Reason, Rejection
from s1ray.curation.quality import QualityFilter, find_quality_reason
from s1ray.curation.selection import (
    Candidate,
    S1kRules,
    order_diverse,
    order_longest,
    order_random,
    order_s1k,
    take_prefix,
)
from s1ray.records import ReasoningTrace

CountTokens = Callable[[str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurationRules:
    """The configuration of every step."""

    decontamination: DecontaminationConfig
    quality: QualityConfig
    difficulty: DifficultyConfig
    selection: SelectionConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Curation:
    """What curation ends with."""

    selected: tuple[ReasoningTrace, ...]
    """In training order of the selection: a prefix is a smaller selection."""
    domains: tuple[str, ...]
    """The domain of each."""
    lengths: tuple[int, ...]
    """The trace length of each, as the selection measured it."""
    funnel: Funnel


def screen_pool(
    items: Sequence[PoolItem],
    *,
    protected: Sequence[ProtectedQuestion],
    rules: CurationRules,
    recorder: FunnelRecorder,
) -> Iterator[PoolItem]:
    """Yield the items that are distinct, uncontaminated and of quality: those worth a verdict.

    Args:
        items: The pool, in the order of its sources; the first of equal questions stays.
        protected: The benchmarks' questions.
        rules: Of the steps.
        recorder: Counts, and hands on every rejection.
    """
    distinct = recorder.sift(items, step="deduplicate", judge=_judge_distinct(), stand_in=None)
    texts = (item.trace.question.text for item in items)
    clean = recorder.sift(
        distinct,
        step="decontaminate",
        judge=_judge_contamination(texts, protected=protected, config=rules.decontamination),
        stand_in=None,
    )
    return recorder.sift(clean, step="quality", judge=_judge_quality(rules.quality), stand_in=None)


def choose(
    items: Iterable[PoolItem],
    *,
    verdicts: Verdicts,
    labels: Mapping[str, str] | None,
    count_tokens: CountTokens,
    rules: CurationRules,
    recorder: FunnelRecorder,
) -> Curation:
    """Return the chosen traces of a screened pool.

    Args:
        items: What ``screen_pool`` let through.
        verdicts: Per question id and model; empty where difficulty asks no model.
        labels: Domains by question id, or None for the source's own.
        count_tokens: Length of a text in tokens.
        rules: Of the steps.
        recorder: The one that screened, so that the funnel is whole.

    Raises:
        ValueError: Too few questions are left, or labels do not cover them.
    """
    selection = rules.selection
    if selection.after_difficulty:
        items = recorder.sift(
            items,
            step="difficulty",
            judge=_judge_difficulty(verdicts, config=rules.difficulty),
            stand_in=name_difficulty_stand_in(rules.difficulty),
        )
    count = recorder.open("selection", stand_in=name_length_stand_in(selection.length))
    kept: dict[str, PoolItem] = {}
    candidates: dict[str, Candidate] = {}
    for item in items:
        question = item.trace.question
        count.num_in += 1
        kept[question.id] = item
        candidates[question.id] = Candidate(
            id=question.id,
            source=question.source,
            domain=find_domain(question, labels=labels),
            length=measure_length(item.trace, kind=selection.length, count_tokens=count_tokens),
            is_correct=item.trace.is_correct,
        )
    chosen = order_candidates(tuple(candidates.values()), config=selection)
    for identifier in kept.keys() - set(chosen):
        reason = Reason(name="not_chosen", evidence={})
        recorder.drop(kept[identifier], count=count, reason=reason)
    return Curation(
        selected=tuple(kept[identifier].trace for identifier in chosen),
        domains=tuple(candidates[identifier].domain for identifier in chosen),
        lengths=tuple(candidates[identifier].length for identifier in chosen),
        funnel=recorder.finish(),
    )


def curate(
    items: Sequence[PoolItem],
    *,
    protected: Sequence[ProtectedQuestion],
    verdicts: Verdicts,
    labels: Mapping[str, str] | None,
    count_tokens: CountTokens,
    rules: CurationRules,
    reject: Callable[[Rejection], None],
) -> Curation:
    """Run every step; see ``screen_pool`` and ``choose``."""
    recorder = FunnelRecorder(reject=reject)
    screened = screen_pool(items, protected=protected, rules=rules, recorder=recorder)
    return choose(
        screened,
        verdicts=verdicts,
        labels=labels,
        count_tokens=count_tokens,
        rules=rules,
        recorder=recorder,
    )


def measure_length(trace: ReasoningTrace, *, kind: LengthKind, count_tokens: CountTokens) -> int:
    """Return the length by which traces are ranked, in tokens or words as the kind says."""
    if kind == "thinking_tokens":
        return count_tokens(trace.thinking)
    if kind == "thinking_words":
        return len(trace.thinking.split())
    return len((trace.question.solution or trace.question.text).split())


def order_candidates(
    candidates: Sequence[Candidate], *, config: SelectionConfig
) -> tuple[str, ...]:
    """Return the chosen ids in order.

    Raises:
        ValueError: Fewer candidates than ``num_questions``.
    """
    if isinstance(config, FullSelectionConfig):
        return order_random(candidates, seed=config.seed)
    if isinstance(config, S1kSelectionConfig):
        rules = S1kRules(
            variant=config.variant,
            base_questions=config.base_questions,
            uniform_fraction=config.uniform_fraction,
            preselected_sources=config.preselected_sources,
            preselected_long_sources=config.preselected_long_sources,
            benchmark_shares=config.benchmark_shares,
        )
        order = order_s1k(
            candidates, num_questions=config.num_questions, seed=config.seed, rules=rules
        )
    elif config.kind == "random":
        order = order_random(candidates, seed=config.seed)
    elif config.kind == "diverse":
        order = order_diverse(candidates, seed=config.seed)
    else:
        order = order_longest(candidates)
    return take_prefix(order, num_questions=config.num_questions)


def name_difficulty_stand_in(config: DifficultyConfig) -> str | None:
    """Return what stands in for the verdicts of s1's two models."""
    if isinstance(config, LevelDifficultyConfig):
        levels = ", ".join(f"{name} >= {level:g}" for name, level in config.min_levels.items())
        return f"the sources' own levels ({levels}) stand in for models' verdicts"
    return None


def name_length_stand_in(length: LengthKind) -> str | None:
    """Return what stands in for the length of the teacher's thinking."""
    if length == "solution_or_question_words":
        return (
            "words of the worked solution, or of the question where there is none, stand in for "
            "the length of a teacher's thinking"
        )
    return None


def _judge_distinct() -> Callable[[PoolItem], Reason | None]:
    seen: dict[str, str] = {}

    def judge(item: PoolItem) -> Reason | None:
        first = seen.setdefault(item.trace.question.id, item.origin)
        if first == item.origin:
            return None
        return Reason(name="same_question", evidence={"first": first})

    return judge


def _judge_contamination(
    texts: Iterable[str],
    *,
    protected: Sequence[ProtectedQuestion],
    config: DecontaminationConfig,
) -> Callable[[PoolItem], Reason | None]:
    size = config.ngram_size
    if isinstance(config, S1DecontaminationConfig):
        plain = index_s1(protected, ngram_size=size)
        return lambda item: find_s1_reason(item.trace.question.text, index=plain)
    unfiltered = index_overlap(
        protected, ngram_size=size, min_overlap=config.min_overlap, boilerplate=()
    )
    counts = count_ngrams(texts, protected_ngrams=unfiltered.owners.keys(), ngram_size=size)
    index = index_overlap(
        protected,
        ngram_size=size,
        min_overlap=config.min_overlap,
        boilerplate=find_boilerplate(counts, max_questions=config.max_ngram_questions),
    )
    return lambda item: find_overlap_reason(item.trace.question.text, index=index)


def _judge_quality(config: QualityConfig) -> Callable[[PoolItem], Reason | None]:
    filters = tuple(QualityFilter(name) for name in config.filters)
    return lambda item: find_quality_reason(
        item,
        filters=filters,
        asymptote_sources=config.asymptote_sources,
        max_part=config.max_part,
    )


def _judge_difficulty(
    verdicts: Verdicts, *, config: DifficultyConfig
) -> Callable[[PoolItem], Reason | None]:
    if isinstance(config, ModelsDifficultyConfig):
        return lambda item: find_unsolved_reason(
            verdicts.get(item.trace.question.id, {}),
            models=config.models,
            keep_unscored=config.keep_unscored,
        )
    if isinstance(config, LevelDifficultyConfig):
        return lambda item: find_level_reason(
            item, min_levels=config.min_levels, keep_unlevelled=config.keep_unlevelled
        )
    return lambda _: None
