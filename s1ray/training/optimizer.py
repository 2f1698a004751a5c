"""AdamW over a model's trained parameters.

It does not know the learning rate's schedule, which sets ``lr`` before each step.
"""

from collections.abc import Iterable

import torch
from torch import nn
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
    return AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=True,
    )


def _select(parameters: Iterable[torch.Tensor], *, is_matrix: bool) -> list[torch.Tensor]:
    return [parameter for parameter in parameters if (parameter.ndim >= 2) == is_matrix]
