"""Ulysses sequence parallelism: ranks that share a row trade tokens for heads around attention.

Between layers each rank holds its part of the row with all heads; inside attention it holds the
whole row with its part of the heads. It knows tensors and a process group, not documents or models.

Source: DeepSpeed-Ulysses (arXiv 2309.14509).
"""

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed._functional_collectives import all_to_all_single_autograd


class Heads(NamedTuple):
    """Queries, keys and values of a row, each of shape [1, heads, tokens, head_dim]."""

    query: Tensor
    key: Tensor
    value: Tensor


def gather_tokens(heads: Heads, group: dist.ProcessGroup) -> Heads:
    """Return the whole row for this rank's heads, given this rank's tokens for all heads.

    Queries, keys and values travel in one exchange. Where there are more ranks than key-value
    heads, each head goes to several ranks; the backward pass adds up what they return.
    """
    degree = group.size()
    parts = [_split_heads(states, degree) for states in heads]
    widths = [part.shape[1] for part in parts]
    sent = torch.cat(parts, dim=1)
    received = _exchange(sent, group)
    # [source rank, heads, its tokens, head_dim] to [1, heads, all tokens, head_dim]
    rows = received.transpose(0, 1).flatten(1, 2)[None]
    return Heads(*torch.split(rows, widths, dim=1))


def gather_heads(output: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Return this rank's tokens for all heads, given the whole row for this rank's heads.

    Args:
        output: Shape [1, tokens, heads of this rank, head_dim].
        group: The ranks that share the row.

    Returns:
        Shape [1, tokens of this rank, heads, head_dim].
    """
    sent = output.reshape(group.size(), -1, *output.shape[2:])
    return _exchange(sent, group).transpose(0, 1).flatten(1, 2)[None]


def _split_heads(states: Tensor, degree: int) -> Tensor:
    """Return [destination rank, heads, tokens, head_dim]."""
    num_heads = states.shape[1]
    if num_heads < degree:
        states = states.repeat_interleave(degree // num_heads, dim=1)
    return states.reshape(degree, -1, *states.shape[2:])


def _exchange(states: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Send slice i of dim 0 to rank i; receive as many."""
    flat = states.contiguous().flatten(1)
    received = all_to_all_single_autograd(flat, None, None, group)
    return received.view(*states.shape)
