"""The training suite: the fine-tune against TRL's, and its parts against the plain way."""

from collections.abc import Mapping

from s1ray.config.suites.training import TrainingSuiteSettings
from s1ray.suites.balance import compare_balance
from s1ray.suites.kernels import KERNELS
from s1ray.suites.launchers.comparison import compare_launchers
from s1ray.suites.suite import Part
from s1ray.suites.trainers.comparison import compare_trainers

SETTINGS = TrainingSuiteSettings
PARTS: Mapping[str, Part] = {
    "trainers": compare_trainers,
    **KERNELS,
    "balance": lambda settings, _: compare_balance(settings.balance, settings.planning),
    "launchers": lambda settings, _: compare_launchers(settings.launchers),
}
