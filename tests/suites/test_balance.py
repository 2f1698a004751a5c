"""Balance on paper: the extremes are known, and what is published holds."""

import statistics

import pytest

from s1ray.config.suites.training import TrainingSuiteSettings
from s1ray.suites.balance import compare_balance
from s1ray.training.samples.batching import order_epoch


def test_naive_balance_is_mean_over_longest_of_each_step(settings: TrainingSuiteSettings) -> None:
    lengths = settings.planning.report_lengths["s1k"]
    flat = {"s1k": lengths.model_copy(update={"sigma": 0.0, "longest_tokens": 10_000})}
    planning = settings.planning.model_copy(update={"report_lengths": flat})

    outcome = compare_balance(settings.balance, planning)

    # Equal samples: the last of the 63 steps has 8 of them for 16 GPUs.
    assert outcome.results["s1k"]["naive_tokens"] == pytest.approx(1000 / (63 * 16))
    assert outcome.results["s1k"]["ours_tokens"] == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["s1k", "r1"])
def test_shared_rows_keep_16_gpus_busy(settings: TrainingSuiteSettings, name: str) -> None:
    results = compare_balance(settings.balance, settings.planning).results[name]

    assert results["naive_compute"] < 0.7
    assert min(results["ours_tokens"], results["ours_compute"]) >= 0.97


def test_order_is_that_of_the_training_loop(settings: TrainingSuiteSettings) -> None:
    order = order_epoch(1000, seed=settings.balance.seed, epoch=0)

    # Sorted lengths in the order given would fill whole steps with long samples.
    assert statistics.mean(order[:16]) == pytest.approx(500, abs=250)
