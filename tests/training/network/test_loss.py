"""The chunked head, against whole logits and torch's cross_entropy."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from s1ray.training.network.loss import linear_cross_entropy


def draw_inputs(seed: int, *, positions: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(positions, 16, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(41, 16, generator=generator).to(dtype).requires_grad_()
    targets = torch.randint(41, (positions,), generator=generator)
    return hidden, weight, targets, torch.rand(positions, generator=generator)


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), positions=st.integers(1, 40), chunk=st.integers(1, 50))
def test_loss_and_gradients_equal_those_of_whole_logits(
    seed: int, positions: int, chunk: int
) -> None:
    hidden, weight, targets, weights = draw_inputs(seed, positions=positions, dtype=torch.float64)
    token_losses = F.cross_entropy(hidden @ weight.T, targets, reduction="none")
    expected = torch.autograd.grad((token_losses * weights).sum() * 3, (hidden, weight))

    result = linear_cross_entropy(
        hidden, weight, targets=targets, loss_weights=weights, chunk_tokens=chunk
    )
    gradients = torch.autograd.grad(result.loss * 3, (hidden, weight))

    torch.testing.assert_close(result.token_losses, token_losses.float(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradients, expected, atol=1e-5, rtol=1e-5)


def test_no_position_gives_no_loss_and_zero_gradients() -> None:
    hidden, weight, targets, weights = draw_inputs(0, positions=0, dtype=torch.float32)

    result = linear_cross_entropy(
        hidden, weight, targets=targets, loss_weights=weights, chunk_tokens=8
    )
    result.loss.backward()

    assert result.loss.item() == 0.0
    assert weight.grad is not None
    assert torch.count_nonzero(weight.grad) == 0


def test_frozen_head_gets_no_gradient() -> None:
    hidden, weight, targets, weights = draw_inputs(0, positions=5, dtype=torch.float32)
    weight.requires_grad = False

    linear_cross_entropy(
        hidden, weight, targets=targets, loss_weights=weights, chunk_tokens=2
    ).loss.backward()

    assert weight.grad is None
    assert hidden.grad is not None


def test_autocast_products_are_bfloat16_and_sums_float32() -> None:
    hidden, weight, targets, weights = draw_inputs(0, positions=12, dtype=torch.float32)
    rounded = hidden.bfloat16() @ weight.bfloat16().T
    expected = F.cross_entropy(rounded.float(), targets, reduction="none")

    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = linear_cross_entropy(
            hidden, weight, targets=targets, loss_weights=weights, chunk_tokens=5
        )
    result.loss.backward()

    torch.testing.assert_close(result.token_losses, expected, atol=1e-5, rtol=1e-5)
    assert weight.grad is not None
    assert weight.grad.dtype is torch.float32


def test_no_logits_of_all_positions_are_ever_held() -> None:
    positions, vocabulary, chunk = 4096, 8192, 64
    hidden = torch.randn(positions, 8, requires_grad=True)
    weight = torch.randn(vocabulary, 8, requires_grad=True)
    sizes: list[int] = []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                sizes.append(result.numel())
            return result

    with Recorder():
        linear_cross_entropy(
            hidden,
            weight,
            targets=torch.zeros(positions, dtype=torch.int64),
            loss_weights=torch.ones(positions),
            chunk_tokens=chunk,
        ).loss.backward()

    assert max(sizes) == chunk * vocabulary


def test_chunk_of_nothing_is_refused() -> None:
    hidden, weight, targets, weights = draw_inputs(0, positions=2, dtype=torch.float32)

    with pytest.raises(ValueError, match="loss_chunk_tokens=0 must be at least 1"):
        linear_cross_entropy(hidden, weight, targets=targets, loss_weights=weights, chunk_tokens=0)
