"""liger-kernel: which releases are used, and that what they return is read right."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from s1ray.training.network.liger import compute_fused, find_kernel, is_usable
from s1ray.training.network.loss import linear_cross_entropy


def plain_kernel(
    _input: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    reduction: str,
    accum_dtype: torch.dtype,
    token_grad_output: Tensor,
    compute_gradients: bool,
    weight_requires_grad: bool,
) -> tuple[Any, ...]:
    """What liger-kernel 0.8.5 computes, with autograd."""
    assert reduction == "none"
    inputs = [_input.detach().requires_grad_(), weight.detach().requires_grad_()]
    with torch.enable_grad():
        losses = F.cross_entropy(inputs[0] @ inputs[1].T, target, reduction="none")
        gradients = torch.autograd.grad((losses * token_grad_output).sum(), inputs)
    grad_weight = gradients[1].to(accum_dtype) if weight_requires_grad else None
    return losses.detach(), None, None, None, gradients[0], grad_weight, None


def test_fused_kernel_gives_what_the_chunks_give() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(9, 5, generator=generator, requires_grad=True)
    weight = torch.randn(11, 5, generator=generator, requires_grad=True)
    targets, weights = torch.randint(11, (9,), generator=generator), torch.rand(9)
    chunked = linear_cross_entropy(
        hidden, weight, targets=targets, loss_weights=weights, chunk_tokens=4
    )
    chunked.loss.backward()

    losses, grad_hidden, grad_weight = compute_fused(
        plain_kernel,
        hidden,
        weight,
        targets=targets,
        loss_weights=weights,
        needs_gradient=True,
        needs_weight=True,
    )

    torch.testing.assert_close(losses, chunked.token_losses)
    torch.testing.assert_close(grad_hidden, hidden.grad)
    torch.testing.assert_close(grad_weight, weight.grad)


def test_release_that_cannot_weigh_tokens_is_not_used() -> None:
    def older(_input: Tensor, weight: Tensor, target: Tensor, *, reduction: str) -> None: ...

    assert is_usable(plain_kernel)
    assert not is_usable(older)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_there_is_no_kernel() -> None:
    assert find_kernel() is None
