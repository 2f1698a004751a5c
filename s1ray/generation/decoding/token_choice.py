"""Which token comes next, given the scores of the vocabulary.

It knows temperature, top-k and top-p. It does not know models, batches or stop sequences: a row's
choice depends on that row alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from s1ray.generation.engine import Sampling
from s1ray.generation.sampling import position_noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What decides one row besides its scores."""

    sampling: Sampling
    position: int
    """Absolute position of the token to be chosen."""
    forbidden: frozenset[int]


def choose_tokens(logits: Tensor, choices: Sequence[Choice]) -> list[int]:
    """Return one token per row.

    Args:
        logits: [rows, vocabulary], any float type.
        choices: One per row.
    """
    if any(choice.forbidden for choice in choices):
        logits = logits.clone()
    for row, choice in enumerate(choices):
        if choice.forbidden:
            logits[row, sorted(choice.forbidden)] = float("-inf")
    chosen: list[int] = logits.argmax(dim=-1).tolist()
    for row, choice in enumerate(choices):
        if choice.sampling.temperature > 0:
            chosen[row] = _draw(logits[row], choice)
    return chosen


def _draw(logits: Tensor, choice: Choice) -> int:
    """Draw by inverting the cumulative distribution at the position's noise.

    Args:
        logits: [vocabulary].
        choice: Of this row.
    """
    sampling = choice.sampling
    scores = logits.double() / sampling.temperature
    order = None
    if sampling.top_k > 0 or sampling.top_p < 1:
        scores, order = scores.sort(descending=True, stable=True)
        scores = scores[: sampling.top_k] if sampling.top_k > 0 else scores
    cumulative = scores.softmax(dim=-1).cumsum(dim=-1)
    if sampling.top_p < 1:
        # The smallest set that reaches top_p: up to and with the first that crosses it.
        num_kept = int((cumulative < sampling.top_p).sum().item()) + 1
        cumulative = cumulative[:num_kept]
    target = position_noise(sampling.seed, choice.position) * cumulative[-1]
    index = int(torch.searchsorted(cumulative, target, right=True).item())
    index = min(index, len(cumulative) - 1)
    return int(order[index].item()) if order is not None else index
