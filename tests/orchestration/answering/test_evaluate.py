"""What is refused before a model is trained, though it is the trained model that it concerns."""

from collections.abc import Callable
from pathlib import Path

import pytest

from s1ray.orchestration.answering.evaluate import prepare_evaluate
from s1ray.orchestration.reproduce import prepare_reproduce
from tests.orchestration.sweeps.sweeping import DATA, axes, plan_sweep
from tests.recipes import compose_tiny, write_traces

Prepare = Callable[..., object]


def prepare_trained(storage: Path, *overrides: str) -> object:
    return prepare_evaluate(compose_tiny(storage, "target=trained", *overrides))


def prepare_whole(storage: Path, *overrides: str) -> object:
    return prepare_reproduce(compose_tiny(storage, *overrides))


def prepare_trials(storage: Path, *overrides: str) -> object:
    return plan_sweep(storage, *axes(data=DATA), *overrides)


@pytest.mark.parametrize("prepare", [prepare_trained, prepare_whole, prepare_trials])
def test_budget_that_does_not_fit_the_sampling_is_refused_before_the_training(
    tmp_path: Path, prepare: Prepare
) -> None:
    with pytest.raises(ValueError, match="sampling=temperature_1"):
        prepare(tmp_path, "budget=rejection")

    assert prepare(tmp_path, "budget=rejection", "sampling=temperature_1")


def test_benchmark_that_is_not_there_is_refused_before_the_training(tmp_path: Path) -> None:
    traces, lost = write_traces(tmp_path), tmp_path / "gone.jsonl"
    benchmark = ("benchmark=[gsm8k]", f"benchmark.gsm8k.path={lost}")

    with pytest.raises(ValueError, match=r"gone\.jsonl"):
        prepare_trained(tmp_path, f"traces={traces}", *benchmark)
