"""AdamW over a model's trained parameters, its moments in float32 or in half of that.

It does not know the learning rate's schedule, which sets ``lr`` before each step.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Optimizer

from s1ray.config.training import OptimizerConfig


def build_optimizer(model: nn.Module, *, config: OptimizerConfig) -> Optimizer:
    """Return AdamW with weight decay on matrices alone, as transformers' Trainer has it.

    Raises:
        ValueError: No parameter is trained.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError("no parameter is trained. Check training.lora.targets.")
    groups = [
        {"params": _select(trained, is_matrix=True), "weight_decay": config.weight_decay},
        {"params": _select(trained, is_matrix=False), "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    options: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": (config.beta1, config.beta2),
        "eps": config.epsilon,
    }
    if config.moments_dtype == "bfloat16":
        return BFloat16AdamW(groups, **options)
    return AdamW(groups, **options, fused=True)


class BFloat16AdamW(Optimizer):
    """AdamW whose two moments are stored in bfloat16: 4 bytes a weight instead of 8.

    The arithmetic is float32. At s1's beta2 of 0.95 a step moves the second moment by up to 5 %,
    well above bfloat16's 0.4 %; at 0.999 it would stand still, so larger values are refused.

    Raises:
        ValueError: beta2 is too close to 1 for bfloat16.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
    ) -> None:
        if 1 - betas[1] < 4 * torch.finfo(torch.bfloat16).eps:
            raise ValueError(
                f"training.optimizer.beta2={betas[1]} is too close to 1 for moments in bfloat16: "
                "they would not move. Lower it to 0.96, or set moments_dtype=float32."
            )
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})
        self.register_load_state_dict_post_hook(_halve_moments)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _move(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(parameter, dtype=torch.bfloat16)
            state["exp_avg_sq"] = torch.zeros_like(parameter, dtype=torch.bfloat16)
        state["step"] += 1
        num_steps = float(state["step"])
        beta1, beta2 = group["betas"]
        gradient = _local(parameter.grad).float()
        first, second = _local(state["exp_avg"]), _local(state["exp_avg_sq"])
        mean = first.float().lerp_(gradient, 1 - beta1)
        square = second.float().lerp_(gradient.square(), 1 - beta2)
        first.copy_(mean)
        second.copy_(square)
        scale = square.div_(1 - beta2**num_steps).sqrt_().add_(group["eps"])
        weight = _local(parameter)
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.addcdiv_(mean, scale, value=-group["lr"] / (1 - beta1**num_steps))


def _halve_moments(optimizer: Optimizer) -> None:
    """Undo what loading does: torch casts every state to the dtype of its parameter."""
    for state in optimizer.state.values():
        for name in ("exp_avg", "exp_avg_sq"):
            state[name] = state[name].to(torch.bfloat16)


def _local(tensor: Tensor | None) -> Tensor:
    """Return this rank's slice; changes to it are changes to the tensor."""
    assert tensor is not None
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _select(parameters: Iterable[Tensor], *, is_matrix: bool) -> list[Tensor]:
    return [parameter for parameter in parameters if (parameter.ndim >= 2) == is_matrix]
