"""Which of the remaining questions are trained on, and in which order.

A selection is a prefix of one order, so that subsets nest: whatever is chosen for 100 questions is
also chosen for 1,000. The order depends on the candidates and the seed alone, not on how the
candidates are sorted, how many are taken, or on whichever machine runs it. This module knows
candidates, not texts.
"""

import hashlib
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import numpy as np

Variant = Literal["code", "paper"]

_MAX_RANKS = 64
"""Weights 2^-rank beyond this add nothing to a sum of doubles near 2."""
_RANK_WEIGHTS = tuple(accumulate(2.0**-rank for rank in range(_MAX_RANKS)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What selection needs to know of a question."""

    id: str
    source: str
    domain: str
    length: int
    """Of the trace, in whatever unit ranks it; only the order within a domain counts."""
    is_correct: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class S1kRules:
    """The constants of s1's selection."""

    variant: Variant
    """``code``: domains are weighted by the benchmarks' after the uniform part, as the authors'
    notebook does; ``paper``: uniform throughout, as Algorithm 1 says."""
    base_questions: int
    """The size whose composition smaller selections sample and larger ones continue."""
    uniform_fraction: float
    """Share of ``base_questions`` up to which domains are drawn uniformly."""
    preselected_sources: Collection[str]
    """Correct traces of these are always chosen."""
    preselected_long_sources: Mapping[str, int]
    """Correct traces of these are always chosen when longer than the number given."""
    benchmark_shares: Mapping[str, float]
    """Sources whose domains weigh the second part; the first is counted as it is, the others are
    scaled to this share of the first one's total."""


def order_s1k(
    candidates: Iterable[Candidate], *, num_questions: int, seed: int, rules: S1kRules
) -> tuple[str, ...]:
    """Return ids in s1's order: at least ``num_questions`` of them, or all there are.

    The first ``base_questions`` are s1's choice in shuffled order, so that any prefix has its
    composition; drawing then goes on by the same rule.

    Args:
        candidates: With distinct ids.
        num_questions: How far to draw.
        seed: Of the draws.
        rules: s1's constants.

    Source: simplescaling/s1 data/filter.ipynb; the notebook draws from an unseeded generator and
    stops at 1,000.
    """
    items = sort_by_length(candidates)
    chosen = dict.fromkeys(item.id for item in items if is_preselected(item, rules=rules))
    pools = _group_ids(items)
    weights = weigh_domains(items, shares=rules.benchmark_shares)
    num_uniform = round(rules.uniform_fraction * rules.base_questions)
    rng = np.random.default_rng(seed)
    while pools and len(chosen) < max(num_questions, rules.base_questions):
        domains = sorted(pools)
        is_uniform = rules.variant == "paper" or len(chosen) < num_uniform
        domain = _draw_domain(domains, weights={} if is_uniform else weights, u=rng.random())
        ids = pools[domain]
        chosen[ids.pop(-1 - _draw_rank(len(ids), u=rng.random()))] = None
        if not ids:
            del pools[domain]
    order = list(chosen)
    base = rules.base_questions
    return (*shuffle_ids(order[:base], seed=seed), *order[base:])


def order_random(candidates: Iterable[Candidate], *, seed: int) -> tuple[str, ...]:
    """Return all ids in an order that depends on the ids and the seed alone."""
    return shuffle_ids((item.id for item in candidates), seed=seed)


def order_diverse(candidates: Iterable[Candidate], *, seed: int) -> tuple[str, ...]:
    """Return all ids, drawn uniformly over domains and then within the domain.

    Source: s1 (arXiv 2501.19393) section 5.1, "Only Diversity".
    """
    pools: dict[str, list[str]] = defaultdict(list)
    domains_by_id = {item.id: item.domain for item in candidates}
    for identifier in shuffle_ids(domains_by_id, seed=seed):
        pools[domains_by_id[identifier]].append(identifier)
    for ids in pools.values():
        ids.reverse()
    rng = np.random.default_rng(seed)
    order: list[str] = []
    while pools:
        domain = _draw_domain(sorted(pools), weights={}, u=rng.random())
        order.append(pools[domain].pop())
        if not pools[domain]:
            del pools[domain]
    return tuple(order)


def order_longest(candidates: Iterable[Candidate]) -> tuple[str, ...]:
    """Return all ids, longest trace first; ties by id.

    Source: s1 (arXiv 2501.19393) section 5.1, "Only Difficulty".
    """
    return tuple(item.id for item in sort_by_length(candidates))


def is_preselected(item: Candidate, *, rules: S1kRules) -> bool:
    """Return whether s1 takes the question before any draw."""
    if item.is_correct is not True:
        return False
    min_length = rules.preselected_long_sources.get(item.source)
    is_long = min_length is not None and item.length > min_length
    return item.source in rules.preselected_sources or is_long


def weigh_domains(
    candidates: Sequence[Candidate], *, shares: Mapping[str, float]
) -> dict[str, float]:
    """Return how often each domain occurs in the benchmark-like sources, not normalised.

    The first source counts as it is; each other's counts are scaled so that its total is its
    share of the first one's, and rounded down domain by domain, as s1 does.
    """
    counts = {
        source: Counter(item.domain for item in candidates if item.source == source)
        for source in shares
    }
    weights: Counter[str] = Counter()
    reference = next((counter.total() for counter in counts.values()), 0)
    for position, (source, counter) in enumerate(counts.items()):
        scale = 1.0 if position == 0 else shares[source] * reference / max(counter.total(), 1)
        weights.update({domain: int(number * scale) for domain, number in counter.items()})
    return {domain: float(weight) for domain, weight in weights.items() if weight > 0}


def shuffle_ids(ids: Iterable[str], *, seed: int) -> tuple[str, ...]:
    """Return the ids sorted by a keyed hash: a shuffle that no other id can change."""
    return tuple(sorted(ids, key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest()))


def sort_by_length(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates longest first, ties by id."""
    return sorted(candidates, key=lambda item: (-item.length, item.id))


def _group_ids(items: Sequence[Candidate]) -> dict[str, list[str]]:
    """Return each domain's ids, longest last: taking from a list's end costs nothing."""
    pools: dict[str, list[str]] = defaultdict(list)
    for item in reversed(items):
        pools[item.domain].append(item.id)
    return dict(pools)


def _draw_domain(domains: Sequence[str], *, weights: Mapping[str, float], u: float) -> str:
    """Draw by inverse distribution: the generator's uniform doubles are what numpy keeps stable."""
    cumulative = list(accumulate(weights.get(domain, 0.0) for domain in domains))
    if cumulative[-1] <= 0:
        return domains[int(u * len(domains))]
    return domains[bisect_right(cumulative, u * cumulative[-1])]


def _draw_rank(num_ranks: int, *, u: float) -> int:
    depth = min(num_ranks, _MAX_RANKS)
    return bisect_right(_RANK_WEIGHTS, u * _RANK_WEIGHTS[depth - 1], hi=depth - 1)
