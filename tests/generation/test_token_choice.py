import math
import random
from collections import Counter
from dataclasses import replace

import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from s1ray.generation.decoding.token_choice import Choice, choose_tokens
from s1ray.generation.engine import Sampling
from s1ray.generation.sampling import derive_seed, position_noise
from tests.generation.scripted_engines import GREEDY

DRAW = Sampling(temperature=1.0, top_p=1.0, top_k=0, seed=3)
PLAIN = Choice(sampling=GREEDY, position=0, forbidden=frozenset())


def count_draws(logits: torch.Tensor, sampling: Sampling, number: int) -> Counter[int]:
    choices = [replace(PLAIN, sampling=sampling, position=place) for place in range(number)]
    return Counter(choose_tokens(logits.expand(number, -1), choices))


def test_greedy_takes_the_best_that_is_not_forbidden() -> None:
    logits = torch.tensor([[0.0, 3.0, 2.0], [1.0, 3.0, 2.0]])
    barred = replace(PLAIN, forbidden=frozenset({1, 2}))
    assert choose_tokens(logits, [PLAIN, barred]) == [1, 0]
    assert logits[1, 1] == 3.0


@pytest.mark.parametrize("changes", [{}, {"temperature": 2.0}, {"top_k": 4}, {"top_p": 0.7}])
def test_frequencies_follow_the_distribution_that_transformers_cuts(
    changes: dict[str, float],
) -> None:
    sampling = replace(DRAW, **changes)
    logits = torch.randn(12, generator=torch.Generator().manual_seed(1))
    scores = TemperatureLogitsWarper(sampling.temperature)(None, logits[None])
    if sampling.top_k:
        scores = TopKLogitsWarper(sampling.top_k)(None, scores)
    if sampling.top_p < 1:
        scores = TopPLogitsWarper(sampling.top_p)(None, scores)
    expected = scores[0].softmax(-1).tolist()

    number = 4000
    counts = count_draws(logits, sampling, number)
    for token, share in enumerate(expected):
        margin = 4.5 * math.sqrt(share * (1 - share) / number)
        assert abs(counts[token] / number - share) <= margin


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    assert set(count_draws(logits, replace(DRAW, top_p=0.5), 300)) == {0}
    assert set(count_draws(logits, replace(DRAW, top_p=0.6), 300)) == {0, 1}


def test_row_does_not_depend_on_its_batch_mates() -> None:
    logits = torch.randn(6, 50, generator=torch.Generator().manual_seed(2))
    choices = [
        replace(PLAIN, sampling=replace(DRAW, top_k=row % 3, seed=row), position=10 * row)
        for row in range(6)
    ]
    together = choose_tokens(logits, choices)
    alone = [choose_tokens(logits[r : r + 1], choices[r : r + 1])[0] for r in range(6)]
    assert together == alone


def test_noise_is_even_and_differs_by_seed_and_position() -> None:
    places = random.Random(0).sample(range(10**9), 4000)
    drawn = [position_noise(7, place) for place in places]
    assert all(0 <= value < 1 for value in drawn)
    tenths = Counter(int(10 * value) for value in drawn)
    assert all(abs(tenths[tenth] - 400) < 100 for tenth in range(10))
    assert len({*drawn, *(position_noise(8, place) for place in places)}) == 8000


def test_derived_seed_depends_on_every_part_and_its_type() -> None:
    seeds = {derive_seed(*parts) for parts in [(1, "q", 0), (1, "q", 1), ("1", "q", 0), (1, "q0")]}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)
