"""The kernels that CUDA alone has, against the plain way."""

import pytest
import torch
from torch import nn

from s1ray.config.training import AttentionBackend
from s1ray.training.network.attention import attend, describe_documents
from s1ray.training.network.liger import find_kernel
from s1ray.training.network.loss import linear_cross_entropy

pytestmark = pytest.mark.gpu


def test_varlen_equals_the_dense_oracle() -> None:
    device = torch.device("cuda")
    lengths = (700, 33, 1300)
    shapes = [(1, heads, sum(lengths), 128) for heads in (40, 8, 8)]
    states = [
        torch.randn(shape, device=device, dtype=torch.bfloat16, requires_grad=True)
        for shape in shapes
    ]

    results = []
    for backend in (AttentionBackend.VARLEN, AttentionBackend.DENSE):
        documents = describe_documents(lengths, backend=backend, device=device, sequence_group=None)
        output = attend(nn.Identity(), *states, None, None, documents=documents)[0]
        results.append((output, torch.autograd.grad(output.float().square().sum(), states)))

    torch.testing.assert_close(results[0], results[1], atol=3e-2, rtol=3e-2)


def test_fused_loss_equals_that_on_the_cpu() -> None:
    if find_kernel() is None:
        pytest.skip("liger-kernel is not installed")
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator) for shape in ((300, 64), (1000, 64))]
    targets, weights = torch.randint(1000, (300,), generator=generator), torch.rand(300)
    results = []
    for device in ("cpu", "cuda"):
        hidden, head = (tensor.to(device).requires_grad_() for tensor in inputs)
        result = linear_cross_entropy(
            hidden,
            head,
            targets=targets.to(device),
            loss_weights=weights.to(device),
            chunk_tokens=64,
        )
        result.loss.backward()
        results.append([tensor.cpu() for tensor in (result.token_losses, hidden.grad, head.grad)])

    for plain, fused in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain, atol=1e-4, rtol=1e-3)
