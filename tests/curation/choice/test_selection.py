import random
from collections import Counter

import numpy as np
import pytest

from s1ray.curation.choice.selection import (
    Candidate,
    S1kRules,
    Variant,
    order_diverse,
    order_longest,
    order_random,
    order_s1k,
)


def _candidates(*, seed: int, number: int = 400) -> list[Candidate]:
    rng = random.Random(seed)
    return [
        Candidate(
            id=f"{rng.getrandbits(64):016x}",
            source=rng.choice(["aime", "gpqa", "math", "other"]),
            domain=rng.choice("abcdefgh"),
            length=rng.randrange(60),
            is_correct=rng.choice([True, False, None]),
        )
        for _ in range(number)
    ]


def _rules(*, variant: Variant = "code", base: int = 100, preselect: bool = True) -> S1kRules:
    return S1kRules(
        variant=variant,
        base_questions=base,
        uniform_fraction=0.7,
        preselected_sources=["gpqa"] if preselect else [],
        preselected_long_sources={"math": 50} if preselect else {},
        benchmark_shares={"aime": 1.0, "gpqa": 0.5},
    )


def _pick(options: list[str], weights: list[float], u: float) -> str:
    """Walk along the weights until a share ``u`` of their sum is passed."""
    target, passed = u * sum(weights), 0.0
    for option, weight in zip(options, weights, strict=True):
        passed += weight
        if passed > target:
            return option
    raise AssertionError("u is below one")


def _select_as_s1(
    candidates: list[Candidate], *, size: int, seed: int, variant: Variant
) -> set[str]:
    """The notebook's loop, written from its description, on plain dicts and lists."""
    rng = np.random.default_rng(seed)
    chosen = {
        c.id
        for c in candidates
        if c.is_correct and (c.source == "gpqa" or (c.source == "math" and c.length > 50))
    }
    aime = Counter(c.domain for c in candidates if c.source == "aime")
    gpqa = Counter(c.domain for c in candidates if c.source == "gpqa")
    scale = 0.5 * sum(aime.values()) / sum(gpqa.values())
    weight = {d: aime[d] + int(gpqa[d] * scale) for d in set(aime) | set(gpqa)}
    pool: dict[str, list[Candidate]] = {}
    for c in candidates:
        pool.setdefault(c.domain, []).append(c)
    while len(chosen) < size:
        domains = sorted(pool)
        u = float(rng.random())
        if len(chosen) < 0.7 * size or variant == "paper":
            domain = domains[int(u * len(domains))]
        else:
            domain = _pick(domains, [float(weight.get(d, 0)) for d in domains], u)
        ranked = sorted(pool[domain], key=lambda c: (-c.length, c.id))
        ids = [c.id for c in ranked]
        taken = _pick(ids, [2.0**-rank for rank in range(len(ids))], float(rng.random()))
        chosen.add(taken)
        pool[domain] = [c for c in ranked if c.id != taken]
        if not pool[domain]:
            del pool[domain]
    return chosen


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("variant", ["code", "paper"])
def test_s1k_selection_equals_the_notebooks_loop(seed: int, variant: Variant) -> None:
    candidates = _candidates(seed=seed)

    order = order_s1k(
        candidates, num_questions=150, seed=seed, rules=_rules(base=150, variant=variant)
    )

    assert set(order[:150]) == _select_as_s1(candidates, size=150, seed=seed, variant=variant)


def test_s1k_selection_does_not_depend_on_the_order_of_candidates() -> None:
    candidates = _candidates(seed=3)
    shuffled = random.Random(9).sample(candidates, len(candidates))

    first = order_s1k(candidates, num_questions=150, seed=1, rules=_rules())

    assert order_s1k(shuffled, num_questions=150, seed=1, rules=_rules()) == first


def test_s1k_selection_nests_below_and_above_its_base() -> None:
    candidates = _candidates(seed=4)
    whole = order_s1k(candidates, num_questions=400, seed=1, rules=_rules())

    sizes = [10, 100, 250, 400]
    orders = {n: order_s1k(candidates, num_questions=n, seed=1, rules=_rules())[:n] for n in sizes}

    assert all(order == whole[:n] for n, order in orders.items())
    assert set(whole) == {item.id for item in candidates}


def test_s1k_code_variant_weighs_domains_by_the_benchmarks_after_the_uniform_part() -> None:
    # All benchmark rows stand in domain "a"; whatever is drawn after the uniform part is too.
    candidates = [
        Candidate(
            id=f"{number:016x}",
            source="aime" if domain == "a" else "other",
            domain=domain,
            length=number,
            is_correct=None,
        )
        for number, domain in enumerate("ab" * 200)
    ]
    domain_of = {item.id: item.domain for item in candidates}

    shares = {
        variant: Counter(
            domain_of[key]
            for key in order_s1k(
                candidates, num_questions=100, seed=5, rules=_rules(variant=variant)
            )[:100]
        )["a"]
        for variant in ("code", "paper")
    }

    assert shares["code"] >= 30 + 20
    assert 35 <= shares["paper"] <= 65


def test_s1k_prefers_long_traces_within_a_domain() -> None:
    candidates = _candidates(seed=6, number=1000)
    order = order_s1k(candidates, num_questions=100, seed=2, rules=_rules(preselect=False))[:100]
    lengths = {item.id: item.length for item in candidates}

    mean = sum(lengths[key] for key in order) / 100

    assert mean > 50


def test_longest_is_sorted_and_diverse_is_even_and_random_is_a_stable_shuffle() -> None:
    candidates = _candidates(seed=7)
    by_id = {item.id: item for item in candidates}

    longest = [by_id[key].length for key in order_longest(candidates)]
    diverse = Counter(by_id[key].domain for key in order_diverse(candidates, seed=1)[:80])
    shuffled = order_random(candidates, seed=1)

    assert longest == sorted(longest, reverse=True)
    assert min(diverse.values()) >= 3
    assert len(order_diverse(candidates, seed=1)) == 400
    assert order_random(candidates[::-1], seed=1) == shuffled != order_random(candidates, seed=2)


def test_random_order_of_the_rest_survives_removal_of_a_question() -> None:
    candidates = _candidates(seed=8)
    gone = candidates[17].id

    rest = order_random([item for item in candidates if item.id != gone], seed=1)

    assert rest == tuple(key for key in order_random(candidates, seed=1) if key != gone)
