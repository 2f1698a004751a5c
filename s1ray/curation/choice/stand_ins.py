"""What a selection rests on where a pool lacks what s1's own had, in words for funnel and card.

It names facts of the questions that are left, and refuses the one that would make a ranking empty.
"""

from collections.abc import Collection, Iterable, Sequence

from s1ray.config.curation import (
    DiversityConfig,
    LengthKind,
    S1kSelectionConfig,
    SelectionConfig,
)
from s1ray.curation.choice.diversity import name_domain_stand_in
from s1ray.curation.choice.selection import Candidate, weigh_domains
from s1ray.curation.pool.items import PoolItem
from s1ray.curation.pool.rows import SOLUTION_TEACHER

_RANKED_KINDS = frozenset({"s1k", "longest"})
_BALANCED_KINDS = frozenset({"s1k", "diverse"})
_FIXES: dict[LengthKind, str] = {
    "judges_thinking_tokens": "Set difficulty.budget to one under which judges think, such as "
    "budget@difficulty.budget=natural, or another selection.length.",
    "thinking_tokens": "Set selection.length=solution_or_question_words, or take a pool with a "
    "teacher's traces.",
    "thinking_words": "Set selection.length=solution_or_question_words, or take a pool with a "
    "teacher's traces.",
}


def check_lengths(candidates: Sequence[Candidate], *, selection: SelectionConfig) -> None:
    """Refuse a ranking by a length that no question has: it would be one by chance.

    Raises:
        ValueError: The selection ranks, and every length is 0.
    """
    if selection.kind not in _RANKED_KINDS or not candidates:
        return
    if any(candidate.length for candidate in candidates):
        return
    fix = _FIXES.get(selection.length, "Take another selection.length.")
    raise ValueError(
        f"selection.kind={selection.kind} ranks by selection.length={selection.length}, which is "
        f"0 for each of the {len(candidates)} questions that are left. {fix}"
    )


def name_selection_stand_in(
    items: Iterable[PoolItem],
    *,
    candidates: Sequence[Candidate],
    diversity: DiversityConfig,
    selection: SelectionConfig,
) -> str | None:
    """Return what stands in for a teacher's traces and a model's subjects; None for nothing.

    Args:
        items: What is left of the pool.
        candidates: The same, as selection sees it.
        diversity: Where domains come from.
        selection: Which rule chooses.
    """
    notes = [name_domain_stand_in(diversity)]
    if selection.kind in _BALANCED_KINDS:
        notes.append(_name_only_domain({candidate.domain for candidate in candidates}))
    notes.append(_name_length(selection.length))
    if selection.kind in _RANKED_KINDS and selection.length in {
        "thinking_tokens",
        "thinking_words",
    }:
        notes += _name_missing_traces(items, num_items=len(candidates))
    if isinstance(selection, S1kSelectionConfig):
        notes.append(_name_preselection(candidates))
        notes.append(_name_weights(candidates, config=selection))
    return "; ".join(note for note in notes if note) or None


def _name_only_domain(domains: Collection[str]) -> str | None:
    if len(domains) != 1:
        return None
    return f"all questions are of one domain, {next(iter(domains))}, so that none is balanced"


def _name_length(kind: LengthKind) -> str | None:
    if kind == "solution_or_question_words":
        return (
            "words of the worked solution, or of the question where there is none, stand in for "
            "the length of a teacher's thinking"
        )
    if kind == "judges_thinking_tokens":
        return (
            "how long the models that judged difficulty thought stands in for the length of a "
            "teacher's thinking"
        )
    return None


def _name_missing_traces(items: Iterable[PoolItem], *, num_items: int) -> list[str]:
    num_solutions = num_empty = 0
    for item in items:
        num_empty += not item.trace.thinking
        num_solutions += item.trace.teacher == SOLUTION_TEACHER
    notes = []
    if num_solutions:
        notes.append(
            f"the length of the worked solution stands in for that of a teacher's thinking in "
            f"{num_solutions} of {num_items} questions"
        )
    if num_empty:
        notes.append(
            f"{num_empty} of {num_items} questions have neither thinking nor solution and rank last"
        )
    return notes


def _name_preselection(candidates: Sequence[Candidate]) -> str | None:
    if any(candidate.is_correct is not None for candidate in candidates):
        return None
    return "no row carries a graded answer of a teacher, so none is chosen for it"


def _name_weights(candidates: Sequence[Candidate], *, config: S1kSelectionConfig) -> str | None:
    if config.variant == "paper" or not config.benchmark_shares:
        return None
    found = {candidate.source for candidate in candidates}
    missing = [name for name in config.benchmark_shares if name not in found]
    if not missing:
        return None
    note = f"no question is of {' or '.join(missing)}, by whose domains s1 weights its last draws"
    if weigh_domains(candidates, shares=config.benchmark_shares):
        return note
    return f"{note}, so that every draw is uniform over the domains"
