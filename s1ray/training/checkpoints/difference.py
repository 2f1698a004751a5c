"""Whether two training states are the same, and where they part first.

It knows whole tensors by name. It does not know where they come from.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two states side by side."""

    num_tensors: int
    num_numbers: int
    largest: float
    """Largest absolute difference of two numbers."""
    first: str | None
    """The first difference that counts, in words; None where there is none."""
    is_bit_equal: bool


def compare_states(
    expected: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    *,
    absolute_tolerance: float,
    relative_tolerance: float,
) -> Comparison:
    """Compare every number of two states; with tolerances of 0, every bit.

    Args:
        expected: Whole tensors by name.
        found: The same.
        absolute_tolerance: A number may differ by this, plus ``relative_tolerance`` times the
            expected one's size.
        relative_tolerance: See above.
    """
    first = _find_missing(expected, found)
    largest, is_bit_equal = 0.0, first is None
    for name in sorted(expected.keys() & found.keys()):
        ours, theirs = expected[name], found[name]
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            first = first or f"{name} is {_describe(theirs)} and was {_describe(ours)}"
            is_bit_equal = False
            continue
        unequal = _find_unequal_bits(ours, theirs)
        if not unequal.any():
            continue
        is_bit_equal = False
        gaps = (ours.double() - theirs.double()).abs()
        largest = max(largest, float(gaps[unequal].nan_to_num(nan=torch.inf).max()))
        allowed = absolute_tolerance + relative_tolerance * ours.double().abs()
        counts = unequal & ~(gaps <= allowed)
        if first is None and counts.any():
            first = _describe_first(name, ours, theirs, counts)
    return Comparison(
        num_tensors=len(expected),
        num_numbers=sum(tensor.numel() for tensor in expected.values()),
        largest=largest,
        first=first,
        is_bit_equal=is_bit_equal,
    )


def _find_missing(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    only = sorted(expected.keys() ^ found.keys())
    if not only:
        return None
    where = "expected" if only[0] in expected else "found"
    return f"{only[0]} is in the {where} state alone"


def _describe(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"


def _find_unequal_bits(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return where bits differ: a zero of another sign does, one NaN from itself does not."""
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    kind = integers[ours.element_size()]
    return ours.contiguous().view(kind) != theirs.contiguous().view(kind)


def _describe_first(name: str, ours: Tensor, theirs: Tensor, counts: Tensor) -> str:
    flat = int(counts.reshape(-1).nonzero()[0])
    index = [int(i) for i in torch.unravel_index(torch.tensor(flat), ours.shape)]
    return (
        f"{name}{index} is {theirs.reshape(-1)[flat].item()!r} and was "
        f"{ours.reshape(-1)[flat].item()!r}; {int(counts.sum())} of {ours.numel()} numbers of this "
        "tensor differ"
    )
