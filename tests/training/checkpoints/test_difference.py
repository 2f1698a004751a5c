"""Two states side by side: one flipped bit counts, and what differs first is named."""

import math

import pytest
import torch

from s1ray.training.checkpoints.difference import Comparison, compare_states


def compare(
    expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor], *, tolerance: float = 0.0
) -> Comparison:
    return compare_states(
        expected, found, absolute_tolerance=tolerance, relative_tolerance=tolerance
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int64])
def test_copies_are_bit_equal(dtype: torch.dtype) -> None:
    state = {"a": torch.arange(12).reshape(3, 4).to(dtype), "b": torch.ones((), dtype=dtype)}

    compared = compare(state, {name: tensor.clone() for name, tensor in state.items()})

    assert compared == Comparison(
        num_tensors=2, num_numbers=13, largest=0.0, first=None, is_bit_equal=True
    )


def test_one_bit_is_found_and_named() -> None:
    ours = {"a": torch.zeros(2), "b": torch.full((2, 3), 1.0)}
    theirs = {"a": torch.zeros(2), "b": ours["b"].clone()}
    theirs["b"].view(torch.int32)[1, 2] += 1

    compared = compare(ours, theirs)

    assert not compared.is_bit_equal
    assert compared.first is not None
    assert compared.first.startswith("b[1, 2] is 1.0000001192092896 and was 1.0; 1 of 6")
    assert compared.largest == pytest.approx(2**-23)


def test_zero_of_another_sign_is_another_bit_and_within_any_tolerance() -> None:
    exact = compare({"a": torch.tensor([0.0])}, {"a": torch.tensor([-0.0])}, tolerance=1e-9)
    assert exact.first is None
    assert not exact.is_bit_equal


def test_tolerance_is_absolute_plus_relative() -> None:
    ours = {"a": torch.tensor([0.0, 100.0])}
    assert compare(ours, {"a": torch.tensor([0.01, 101.0])}, tolerance=0.01).first is None
    assert compare(ours, {"a": torch.tensor([0.0, 101.1])}, tolerance=0.01).first is not None


def test_nan_is_equal_to_its_own_bits_and_within_no_tolerance() -> None:
    nan = {"a": torch.tensor([math.nan])}
    assert compare(nan, {"a": torch.tensor([math.nan])}).is_bit_equal
    assert compare({"a": torch.tensor([1.0])}, nan, tolerance=1e9).first is not None


def test_largest_difference_leaves_out_numbers_without_one() -> None:
    ours = {"a": torch.tensor([math.inf, math.nan, 1.0])}

    compared = compare(ours, {"a": torch.tensor([math.inf, math.nan, 1.5])})

    assert compared.largest == 0.5


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({}, "a is in the expected state alone"),
        ({"a": torch.zeros(2), "b": torch.zeros(1)}, "b is in the found state alone"),
        ({"a": torch.zeros(3)}, "a is (3,) of float32 and was (2,) of float32"),
        ({"a": torch.zeros(2, dtype=torch.float64)}, "a is (2,) of float64"),
    ],
)
def test_names_shapes_and_types_count(found: dict[str, torch.Tensor], words: str) -> None:
    compared = compare({"a": torch.zeros(2)}, found, tolerance=1.0)
    assert not compared.is_bit_equal
    assert words in str(compared.first)
