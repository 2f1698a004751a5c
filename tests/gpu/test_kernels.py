"""The kernels that CUDA alone has, against the plain way."""

import pytest
import torch
from torch import Tensor, nn

from s1ray.config.training import AttentionBackend
from s1ray.training.network.attention import attend, describe_documents
from s1ray.training.network.liger import find_kernel
from s1ray.training.network.loss import linear_cross_entropy

pytestmark = pytest.mark.gpu


def test_varlen_is_as_near_to_float32_as_the_dense_way_is() -> None:
    device = torch.device("cuda")
    lengths = (700, 33, 1300)
    shapes = [(1, heads, sum(lengths), 128) for heads in (40, 8, 8)]
    exact = [torch.randn(shape, device=device, requires_grad=True) for shape in shapes]
    rounded = [state.detach().to(torch.bfloat16).requires_grad_() for state in exact]

    def differentiate(backend: AttentionBackend, states: list[Tensor]) -> list[Tensor]:
        documents = describe_documents(lengths, backend=backend, device=device, sequence_group=None)
        output = attend(nn.Identity(), *states, None, None, documents=documents)[0]
        return [output, *torch.autograd.grad(output.float().square().sum(), states)]

    oracle = differentiate(AttentionBackend.DENSE, exact)
    dense = measure_errors(differentiate(AttentionBackend.DENSE, rounded), oracle)
    varlen = measure_errors(differentiate(AttentionBackend.VARLEN, rounded), oracle)

    assert max(dense) < 1e-2  # bfloat16 keeps 8 bits
    assert all(ours < 1.5 * plain for ours, plain in zip(varlen, dense, strict=True))


def measure_errors(found: list[Tensor], oracle: list[Tensor]) -> list[float]:
    """Return each tensor's error in its norm, relative to the oracle's."""
    return [
        float((one.float() - other).norm() / other.norm())
        for one, other in zip(found, oracle, strict=True)
    ]


def test_fused_loss_equals_that_on_the_cpu() -> None:
    if find_kernel() is None:
        pytest.skip("liger-kernel is not installed")
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator) for shape in ((300, 64), (1000, 64))]
    targets, weights = torch.randint(1000, (300,), generator=generator), torch.rand(300)
    results = []
    for device in ("cpu", "cuda"):
        hidden, head = (tensor.detach().to(device).requires_grad_() for tensor in inputs)
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
