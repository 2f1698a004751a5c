"""Cross-entropy of a linear head without the logits: chunks of positions at a time.

It does not know documents, samples or ranks; each position brings its own weight.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s1ray.training.network.liger import compute_fused, find_kernel

_PRODUCT_ROWS = 8192
"""Rows of the head's gradient that exist in the compute dtype; more would be memory, not speed."""


class WeightedLoss(NamedTuple):
    """A tuple, so that sharding finds the tensor that the backward pass begins with."""

    loss: Tensor
    """Scalar float32: sum of weight times token loss."""
    token_losses: Tensor
    """Shape [positions], float32, nats, unweighted and without gradient."""


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, *, targets: Tensor, loss_weights: Tensor, chunk_tokens: int
) -> WeightedLoss:
    """Return the weighted cross-entropy of ``softmax(hidden @ weight.T)``.

    The gradient is computed together with the loss, chunk by chunk, so that logits of
    ``chunk_tokens`` positions are all that ever exists and no product is done twice. Under autocast
    products run in its dtype; the softmax and the sum over chunks are float32. On CUDA liger-kernel
    does it where that is installed, in chunks of its own size.

    Args:
        hidden: Shape [positions, hidden_size]. May have no position: the loss is 0 and the
            gradients are zeros.
        weight: Shape [vocabulary, hidden_size].
        targets: Shape [positions].
        loss_weights: Shape [positions], float32.
        chunk_tokens: Positions a chunk.

    Raises:
        ValueError: ``chunk_tokens`` is not positive.

    Source: the idea of linkedin/Liger-Kernel's fused linear cross-entropy, in plain torch.
    """
    if chunk_tokens < 1:
        raise ValueError(f"sharding.loss_chunk_tokens={chunk_tokens} must be at least 1.")
    device_type = hidden.device.type
    is_autocast = torch.is_autocast_enabled(device_type)
    dtype = torch.get_autocast_dtype(device_type) if is_autocast else hidden.dtype
    loss, token_losses = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, weight, targets, loss_weights, chunk_tokens, dtype, torch.is_grad_enabled()
    )
    return WeightedLoss(loss=loss, token_losses=token_losses)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - as torch types it
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        loss_weights: Tensor,
        chunk_tokens: int,
        dtype: torch.dtype,
        has_gradient: bool,  # noqa: FBT001
    ) -> tuple[Tensor, Tensor]:
        needs_hidden = has_gradient and ctx.needs_input_grad[0]
        needs_weight = has_gradient and ctx.needs_input_grad[1]
        kernel = find_kernel() if hidden.is_cuda and len(hidden) else None
        with torch.autocast(hidden.device.type, enabled=False):
            if kernel is not None:
                token_losses, grad_hidden, grad_weight = compute_fused(
                    kernel,
                    hidden.to(dtype),
                    weight.to(dtype),
                    targets=targets,
                    loss_weights=loss_weights,
                    needs_gradient=needs_hidden or needs_weight,
                    needs_weight=needs_weight,
                )
            else:
                token_losses, grad_hidden, grad_weight = _compute_in_chunks(
                    hidden,
                    weight.to(dtype),
                    targets=targets,
                    loss_weights=loss_weights,
                    chunk_tokens=chunk_tokens,
                    needs_hidden=needs_hidden,
                    needs_weight=needs_weight,
                )
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.dtypes = hidden.dtype, weight.dtype
        ctx.mark_non_differentiable(token_losses)
        return (token_losses * loss_weights).sum(), token_losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        grad_hidden, grad_weight = ctx.saved_tensors
        hidden_dtype, weight_dtype = ctx.dtypes
        # In place: a second copy of a large head's gradient would be gigabytes. A second backward
        # pass is refused by autograd, which counts the changes of what was saved.
        if grad_hidden is not None:
            grad_hidden = grad_hidden.mul_(grad_loss).to(hidden_dtype)
        if grad_weight is not None:
            grad_weight = grad_weight.mul_(grad_loss).to(weight_dtype)
        return grad_hidden, grad_weight, None, None, None, None, None


def _compute_in_chunks(
    hidden: Tensor,
    head: Tensor,
    *,
    targets: Tensor,
    loss_weights: Tensor,
    chunk_tokens: int,
    needs_hidden: bool,
    needs_weight: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return token losses and the gradients of their weighted sum, to ``hidden`` and to ``head``.

    Products run in the dtype of ``head``.
    """
    grad_hidden = torch.zeros_like(hidden) if needs_hidden else None
    grad_weight = torch.zeros_like(head, dtype=torch.float32) if needs_weight else None
    token_losses = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
    for begin in range(0, len(hidden), chunk_tokens):
        part = slice(begin, begin + chunk_tokens)
        token_losses[part] = _compute_chunk(
            hidden[part].to(head.dtype),
            head,
            targets=targets[part],
            loss_weights=loss_weights[part],
            grad_hidden=None if grad_hidden is None else grad_hidden[part],
            grad_weight=grad_weight,
        )
    return token_losses, grad_hidden, grad_weight


def _compute_chunk(
    rows: Tensor,
    head: Tensor,
    *,
    targets: Tensor,
    loss_weights: Tensor,
    grad_hidden: Tensor | None,
    grad_weight: Tensor | None,
) -> Tensor:
    """Return token losses; ``grad_hidden`` is set and ``grad_weight`` added to, where they are.

    A function of its own, so that nothing of a chunk is there any more when the next one begins.
    """
    scores = rows @ head.T
    log_probabilities = scores.log_softmax(dim=-1, dtype=torch.float32)
    losses = -log_probabilities.gather(-1, targets[:, None]).squeeze(-1)
    if grad_hidden is None and grad_weight is None:
        return losses
    slope = _differentiate(log_probabilities, targets, loss_weights=loss_weights, out=scores)
    if grad_hidden is not None:
        grad_hidden[:] = slope @ head
    if grad_weight is not None and head.dtype is torch.float32:
        grad_weight.addmm_(slope.T, rows)
    elif grad_weight is not None:
        _add_product(grad_weight, slope.T, rows)
    return losses


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a product to a float32 total; it exists for some rows at a time, in its own dtype."""
    for begin in range(0, len(total), _PRODUCT_ROWS):
        part = slice(begin, begin + _PRODUCT_ROWS)
        total[part] += left[part] @ right


def _differentiate(
    log_probabilities: Tensor, targets: Tensor, *, loss_weights: Tensor, out: Tensor
) -> Tensor:
    """Return the gradient with respect to the scores, in ``out``; spends the log-probabilities."""
    slope = log_probabilities.exp_()
    slope.scatter_add_(-1, targets[:, None], slope.new_full((len(targets), 1), -1.0))
    return torch.mul(slope, loss_weights[:, None], out=out)
