"""The training suite: the fine-tune against TRL's, and its parts against the plain way."""

from collections.abc import Mapping

import torch

from s1ray.config.suites.training import TrainingSuiteSettings
from s1ray.suites.balance import compare_balance
from s1ray.suites.gpu.kernels import compare_attention, compare_cross_entropy
from s1ray.suites.launchers.comparison import compare_launchers
from s1ray.suites.suite import Outcome, Part
from s1ray.suites.trainers.comparison import compare_trainers


def _measure_attention(settings: TrainingSuiteSettings) -> Outcome:
    return compare_attention(
        settings.attention,
        backend=settings.sharding.attention,
        device=torch.device(settings.sharding.device),
        num_pairs=settings.num_pairs,
    )


def _measure_cross_entropy(settings: TrainingSuiteSettings) -> Outcome:
    return compare_cross_entropy(
        settings.cross_entropy,
        device=torch.device(settings.sharding.device),
        num_pairs=settings.num_pairs,
    )


SETTINGS = TrainingSuiteSettings
PARTS: Mapping[str, Part] = {
    "trainers": compare_trainers,
    "attention": _measure_attention,
    "cross_entropy": _measure_cross_entropy,
    "balance": lambda settings: compare_balance(settings.balance, settings.planning),
    "launchers": lambda settings: compare_launchers(settings.launchers),
}
