"""From a screened pool to chosen traces and the funnel, in one plain function.

It asks no model, reads no file and writes none: verdicts, labels and the way to count tokens are
given. Where something s1 used is missing, the step says in the funnel what stood in for it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from s1ray.config.curation import (
    FullSelectionConfig,
    LengthKind,
    S1kSelectionConfig,
    SelectionConfig,
)
from s1ray.curation.choice.difficulty import Verdicts, judge_difficulty, name_difficulty_stand_in
from s1ray.curation.choice.diversity import find_domains
from s1ray.curation.choice.selection import (
    Candidate,
    S1kRules,
    order_diverse,
    order_longest,
    order_random,
    order_s1k,
)
from s1ray.curation.choice.stand_ins import check_lengths, name_selection_stand_in
from s1ray.curation.funnel import Funnel, FunnelRecorder
from s1ray.curation.pool.items import PoolItem, Reason
from s1ray.curation.screening.screening import CurationRules
from s1ray.records import ReasoningTrace

CountTokens = Callable[[str], int]
KeepItems = Callable[[Iterable[PoolItem]], Sequence[PoolItem]]
"""Holds items that are looked at more than once: ``list``, or a file where they are many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curation:
    """What curation ends with."""

    selected: tuple[ReasoningTrace, ...]
    """In the selection's order: a prefix is a smaller selection. Each question carries the domain
    that selection saw."""
    sources: tuple[str, ...]
    """The source of each, as the pool declares it."""
    lengths: tuple[int, ...]
    """The trace length of each, as the selection measured it."""
    funnel: Funnel


def choose(
    items: Iterable[PoolItem],
    *,
    verdicts: Verdicts,
    labels: Mapping[str, str] | None,
    count_tokens: CountTokens,
    rules: CurationRules,
    recorder: FunnelRecorder,
    judged_tokens: Mapping[str, int] | None = None,
    keep: KeepItems = list,
) -> Curation:
    """Return the chosen traces of a screened pool.

    Args:
        items: What ``sift_pool`` let through.
        verdicts: Per question id and model; empty where difficulty asks no model.
        labels: Domains by question id; None where diversity looks none up.
        count_tokens: Length of a text in tokens.
        rules: Of the steps.
        recorder: The one that screened, so that the funnel is whole.
        judged_tokens: By question id, how long judges thought; None where nobody was asked.
        keep: Holds the items that remain.

    Raises:
        ValueError: Too few questions are left, labels do not cover them, or no question has the
            length that ranks them.
    """
    kept = _keep_difficult(items, verdicts=verdicts, rules=rules, recorder=recorder, keep=keep)
    check_enough(len(kept), selection=rules.selection, recorder=recorder)
    measure = measure_lengths(
        rules.selection.length, count_tokens=count_tokens, judged_tokens=judged_tokens
    )
    candidates = list_candidates(kept, labels=labels, measure=measure, rules=rules)
    check_lengths(candidates, selection=rules.selection)
    chosen = order_candidates(candidates, config=rules.selection)
    stand_in = name_selection_stand_in(
        kept, candidates=candidates, diversity=rules.diversity, selection=rules.selection
    )
    _count_selection(kept, chosen=chosen, stand_in=stand_in, recorder=recorder)
    return _take(kept, candidates=candidates, chosen=chosen, funnel=recorder.finish())


def list_candidates(
    items: Sequence[PoolItem],
    *,
    labels: Mapping[str, str] | None,
    measure: Callable[[ReasoningTrace], int],
    rules: CurationRules,
) -> list[Candidate]:
    """Return what selection needs to know of each item.

    Args:
        items: What is left of the pool.
        labels: Domains by question id; None where diversity looks none up.
        measure: The length by which a trace is ranked.
        rules: Of diversity and selection.
    """
    questions = (item.trace.question for item in items)
    domains = find_domains(questions, labels=labels, config=rules.diversity)
    return [
        Candidate(
            id=item.trace.question.id,
            source=item.trace.question.source,
            domain=domain,
            length=measure(item.trace),
            is_correct=item.trace.is_correct,
        )
        for item, domain in zip(items, domains, strict=True)
    ]


def measure_lengths(
    kind: LengthKind, *, count_tokens: CountTokens, judged_tokens: Mapping[str, int] | None
) -> Callable[[ReasoningTrace], int]:
    """Return the measure by which traces are ranked; judges' thinking where judges were asked."""
    if kind != "judges_thinking_tokens":
        return lambda trace: measure_length(trace, kind=kind, count_tokens=count_tokens)
    # Where nobody judges, such a length is refused before a pool is read.
    assert judged_tokens is not None
    return lambda trace: judged_tokens.get(trace.question.id, 0)


def measure_length(trace: ReasoningTrace, *, kind: LengthKind, count_tokens: CountTokens) -> int:
    """Return the length by which traces are ranked, in tokens or words as the kind says."""
    if kind == "thinking_tokens":
        return count_tokens(trace.thinking)
    if kind == "thinking_words":
        return len(trace.thinking.split())
    return len((trace.question.solution or trace.question.text).split())


def order_candidates(
    candidates: Sequence[Candidate], *, config: SelectionConfig
) -> tuple[int, ...]:
    """Return the chosen candidates' places in order; of a full selection, all of them."""
    places = {candidate.id: place for place, candidate in enumerate(candidates)}
    return tuple(places[identifier] for identifier in _order_ids(candidates, config=config))


def _order_ids(candidates: Sequence[Candidate], *, config: SelectionConfig) -> Sequence[str]:
    if isinstance(config, FullSelectionConfig):
        return order_random(candidates, seed=config.seed)
    order: Sequence[str]
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
    return order[: config.num_questions]


def check_enough(num_left: int, *, selection: SelectionConfig, recorder: FunnelRecorder) -> None:
    """Refuse a selection of more questions than are left, and say where the others went.

    Args:
        num_left: Questions that passed so far. Later steps only drop, so it can be asked early.
        selection: What they are for.
        recorder: Of the steps so far.

    Raises:
        ValueError: They are too few.
    """
    if isinstance(selection, FullSelectionConfig):
        asked, num_wanted, fix = "selection=full", 1, "Enlarge the pool"
    else:
        num_wanted = selection.num_questions
        asked = f"selection.num_questions={num_wanted}"
        fix = "Lower selection.num_questions, enlarge the pool"
    if num_left >= num_wanted:
        return
    raise ValueError(
        f"{asked}, and only {num_left} questions passed the steps before it "
        f"({recorder.finish().summarise()}). {fix}, or loosen the steps that dropped its questions."
    )


def _keep_difficult(
    items: Iterable[PoolItem],
    *,
    verdicts: Verdicts,
    rules: CurationRules,
    recorder: FunnelRecorder,
    keep: KeepItems,
) -> Sequence[PoolItem]:
    """Return what is hard enough, where the selection asks for that; otherwise everything."""
    if not rules.selection.after_difficulty:
        return keep(items)
    config = rules.difficulty
    count = recorder.open("difficulty", stand_in=None)
    judge = judge_difficulty(verdicts, config=config)
    kept = keep(recorder.sift_into(items, count=count, judge=judge))
    count.stand_in = name_difficulty_stand_in(config, kept=kept)
    return kept


def _count_selection(
    items: Sequence[PoolItem],
    *,
    chosen: Iterable[int],
    stand_in: str | None,
    recorder: FunnelRecorder,
) -> None:
    count = recorder.open("selection", stand_in=stand_in)
    count.num_in = len(items)
    taken = set(chosen)
    for place, item in enumerate(items):
        if place not in taken:
            recorder.drop(item, count=count, reason=Reason(name="not_chosen", evidence={}))


def _take(
    items: Sequence[PoolItem],
    *,
    candidates: Sequence[Candidate],
    chosen: Sequence[int],
    funnel: Funnel,
) -> Curation:
    return Curation(
        selected=tuple(
            _set_domain(items[place].trace, candidates[place].domain) for place in chosen
        ),
        sources=tuple(items[place].source for place in chosen),
        lengths=tuple(candidates[place].length for place in chosen),
        funnel=funnel,
    )


def _set_domain(trace: ReasoningTrace, domain: str) -> ReasoningTrace:
    return replace(trace, question=replace(trace.question, domain=domain))
