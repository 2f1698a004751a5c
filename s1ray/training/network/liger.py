"""liger-kernel's fused cross-entropy, where the machine has it: an optional package, CUDA alone.

Everything else of this house computes without it; ``loss`` asks here and falls back to plain torch.
"""

import inspect
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

Kernel = Callable[..., Any]

_MODULE = "liger_kernel.ops.fused_linear_cross_entropy"
_FUNCTION = "fused_linear_cross_entropy_forward"
_OPTIONS = {"reduction", "accum_dtype", "token_grad_output", "compute_gradients"}
"""What a release must take: 0.8 has all of them; earlier ones cannot weigh tokens one by one."""


@cache
def find_kernel() -> Kernel | None:
    """Return the kernel of the installed liger-kernel; None where there is none that fits."""
    if not torch.cuda.is_available():
        return None
    try:
        kernel: Kernel = getattr(import_module(_MODULE), _FUNCTION)
    except (ImportError, AttributeError):
        return None
    return kernel if is_usable(kernel) else None


def is_usable(kernel: Kernel) -> bool:
    """Return whether a kernel takes a weight for every token."""
    return set(inspect.signature(kernel).parameters) >= _OPTIONS | {"weight_requires_grad"}


def compute_fused(
    kernel: Kernel,
    hidden: Tensor,
    head: Tensor,
    *,
    targets: Tensor,
    loss_weights: Tensor,
    needs_gradient: bool,
    needs_weight: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return token losses and the gradients of their weighted sum, to ``hidden`` and to ``head``.

    Args:
        kernel: From ``find_kernel``.
        hidden: Shape [positions, hidden_size], in the dtype of the products.
        head: Shape [vocabulary, hidden_size], in the same dtype.
        targets: Shape [positions].
        loss_weights: Shape [positions], float32.
        needs_gradient: Whether any gradient is wanted.
        needs_weight: Whether that to ``head`` is.

    Source: linkedin/Liger-Kernel 0.8.5, which returns loss, three measures that are not asked for,
    and the gradients to input, weight and bias.
    """
    losses, _, _, _, grad_hidden, grad_head, _ = kernel(
        hidden,
        head,
        targets,
        reduction="none",
        accum_dtype=torch.float32,
        token_grad_output=loss_weights,
        compute_gradients=needs_gradient,
        weight_requires_grad=needs_weight,
    )
    return losses, grad_hidden if needs_gradient else None, grad_head
