"""Which evaluations are held against each other, and the table of what came out.

It chooses and lays out; the measuring of a pair is given. It knows no file and no page.
"""

from collections.abc import Callable, Sequence

from s1ray.reporting.contents import Contents
from s1ray.reporting.reading.records import BudgetPoint, Evaluation, Pair, PairedEffect
from s1ray.reporting.tables.formats import (
    format_count,
    format_difference,
    format_percent,
)
from s1ray.reporting.tables.headlines import BASE
from s1ray.reporting.tables.tables import Column, Row, Table


def choose_pairs(contents: Contents) -> tuple[Pair, ...]:
    """Return what is worth comparing: every model with the base model, or the runs with the first.

    A pair is compared at the largest budget that both have, as s1 compares its ablations.
    """
    named = [evaluation for evaluation in contents.evaluations if evaluation.model]
    others = [evaluation for evaluation in named if evaluation.model != BASE]
    if len(contents.experiments) == 1:
        named = [evaluation for evaluation in named if evaluation.model == BASE] + others
    else:
        named = others
    if len(named) < 2:
        return ()
    first = named[0]
    pairs = (_pair(first, other, points=contents.results.points) for other in named[1:])
    return tuple(pair for pair in pairs if pair)


def _pair(
    reference: Evaluation, variant: Evaluation, *, points: Sequence[BudgetPoint]
) -> Pair | None:
    policy = find_largest_budget(points, models=(str(reference.model), str(variant.model)))
    if policy is None:
        return None
    return Pair(
        reference=str(reference.model),
        variant=str(variant.model),
        reference_path=reference.path,
        variant_path=variant.path,
        policy=policy,
    )


def find_largest_budget(points: Sequence[BudgetPoint], *, models: Sequence[str]) -> str | None:
    """Return the name of the largest budget that all models have; None where they share none.

    Thinking to its natural end is the largest; budgets with Waits and other methods are left out.
    """
    caps = {
        point.policy: float("inf")
        if point.max_thinking_tokens is None
        else point.max_thinking_tokens
        for point in points
        if point.method == "budget"
    }
    shared = [
        policy
        for policy in caps
        if all(any((p.model, p.policy) == (model, policy) for p in points) for model in models)
    ]
    return max(shared, key=lambda policy: caps[policy], default=None)


def build_pairs_table(
    pairs: Sequence[Pair],
    *,
    compare: Callable[[Pair], Sequence[PairedEffect]],
    confidence: float,
) -> Table | None:
    """Return every pair's difference with its interval; None where nothing can be compared.

    Args:
        pairs: A group of rows each.
        compare: Measures one of them.
        confidence: Of the intervals.
    """
    groups = tuple(tuple(_row(pair, effect) for effect in compare(pair)) for pair in pairs)
    columns = (
        Column(title="model", is_number=False),
        Column(title="against", is_number=False),
        Column(title="benchmark", is_number=False),
        Column(title="budget", is_number=False),
        Column(title="accuracies %", is_number=True),
        Column(title="difference, points", is_number=True),
        Column(title=f"{100 * confidence:g} % interval", is_number=True),
        Column(title="questions", is_number=True),
        Column(title="resolved", is_number=False),
    )
    note = (
        "Bootstrap over the questions, paired: both models answered the same ones. Not resolved: "
        "so few questions cannot tell the two apart."
    )
    groups = tuple(filter(None, groups))
    if not groups:
        return None
    return Table(title="Paired differences", columns=columns, groups=groups, note=note)


def _row(pair: Pair, effect: PairedEffect) -> Row:
    accuracies = (effect.accuracy_variant, effect.accuracy_reference)
    return (
        pair.variant,
        pair.reference,
        effect.benchmark,
        pair.policy,
        " / ".join(map(format_percent, accuracies)),
        format_difference(effect.accuracy_variant - effect.accuracy_reference),
        f"[{format_difference(effect.low)}, {format_difference(effect.high)}]",
        format_count(effect.num_items),
        "yes" if effect.is_resolved else "no",
    )
