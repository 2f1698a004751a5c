"""AdamW with moments in half precision, against torch's."""

import pytest
import torch
from torch import Tensor, nn

from s1ray.training.optimizer import build_optimizer
from tests.training.plain_loop import make_optimizer


def walk(moments_dtype: str, *, num_steps: int) -> tuple[Tensor, torch.optim.Optimizer]:
    """Minimise a noisy quadratic; the noise is the same whatever the optimizer."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(16, 16)
    nn.init.constant_(layer.weight, 1.0)
    nn.init.constant_(layer.bias, 1.0)
    optimizer = build_optimizer(
        layer, config=make_optimizer(moments_dtype=moments_dtype, learning_rate=1e-2)
    )
    for _ in range(num_steps):
        for parameter in layer.parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.1
            parameter.grad = parameter.detach() + noise
        optimizer.step()
    return layer.weight.detach(), optimizer


def test_first_step_equals_torchs() -> None:
    half, whole = walk("bfloat16", num_steps=1)[0], walk("float32", num_steps=1)[0]

    torch.testing.assert_close(half, whole, atol=1e-6, rtol=0)


def test_walk_stays_beside_torchs() -> None:
    half, whole = walk("bfloat16", num_steps=60)[0], walk("float32", num_steps=60)[0]

    # Sixty steps of 0.01 lead from 1 to about 0.4; the paths stay within half a step.
    assert 0.3 < whole.mean() < 0.5
    assert (half - whole).abs().max() < 5e-3


def test_moments_are_stored_in_bfloat16() -> None:
    _, optimizer = walk("bfloat16", num_steps=1)

    dtypes = {
        value.dtype
        for state in optimizer.state.values()
        for name, value in state.items()
        if name != "step"
    }
    assert dtypes == {torch.bfloat16}


def test_state_of_half_moments_survives_a_round_trip() -> None:
    _, optimizer = walk("bfloat16", num_steps=3)
    _, other = walk("bfloat16", num_steps=1)

    other.load_state_dict(optimizer.state_dict())

    for found, expected in zip(other.state.values(), optimizer.state.values(), strict=True):
        for name in ("exp_avg", "exp_avg_sq"):
            assert found[name].dtype == torch.bfloat16
            assert torch.equal(found[name], expected[name])


def test_slow_second_moment_is_refused_in_bfloat16() -> None:
    config = make_optimizer(moments_dtype="bfloat16", beta2=0.999)

    with pytest.raises(ValueError, match=r"beta2=0\.999 is too close to 1"):
        build_optimizer(nn.Linear(2, 2), config=config)


def test_model_without_trained_parameters_is_refused() -> None:
    layer = nn.Linear(2, 2).requires_grad_(requires_grad=False)

    with pytest.raises(ValueError, match="no parameter is trained"):
        build_optimizer(layer, config=make_optimizer())
