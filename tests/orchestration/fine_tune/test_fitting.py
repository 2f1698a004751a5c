"""A fine-tune that its hardware cannot hold is refused before the hardware is held."""

from collections.abc import Callable
from pathlib import Path

import pytest
import ray

from s1ray.config.recipe import Recipe
from s1ray.orchestration.fine_tune.fitting import plan_fit
from s1ray.orchestration.fine_tune.train import prepare_train, run_train
from s1ray.orchestration.models import prepare_model
from s1ray.orchestration.run_directory.runs import RefusedError
from s1ray.planning.plan import Plan

SMALL = "cluster.device_memory_gib=0.001"


def _check(recipe: Recipe, *, path: Path | None = None) -> Plan | None:
    model_path = path or prepare_model(recipe.model, recipe.paths).path
    return plan_fit(recipe, model_path=model_path, lengths=[100, 200])


def test_a_run_that_fits_is_taken_in_silence(
    tiny: Callable[..., Recipe], capsys: pytest.CaptureFixture[str]
) -> None:
    plan = _check(tiny())

    assert plan is not None
    assert plan.fits
    assert capsys.readouterr().err == ""


def test_a_run_that_does_not_fit_is_refused_with_the_way_out(tiny: Callable[..., Recipe]) -> None:
    with pytest.raises(RefusedError, match=r"cluster=laptop.*planning\.misfit=warn"):
        _check(tiny(SMALL))


def test_a_user_who_says_so_trains_all_the_same(tiny: Callable[..., Recipe]) -> None:
    plan = _check(tiny(SMALL, "planning.misfit=warn"))

    assert plan is not None
    assert not plan.fits


def test_more_gpus_than_the_cluster_has_are_refused(tiny: Callable[..., Recipe]) -> None:
    recipe = tiny("cluster=h100_1x8", "sharding.num_workers=16", "sharding.device=cuda")

    with pytest.raises(RefusedError, match="has 8 GPUs"):
        _check(recipe)


def test_another_kind_of_hardware_than_planned_is_not_judged(tiny: Callable[..., Recipe]) -> None:
    assert _check(tiny("cluster=h100_1x8")) is None


def test_an_unknown_model_is_not_judged(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}', encoding="utf-8")

    assert _check(tiny(), path=tmp_path) is None


def test_train_refuses_before_it_starts_anything(tiny: Callable[..., Recipe]) -> None:
    was_initialized = ray.is_initialized()
    plan = prepare_train(tiny(SMALL))

    with pytest.raises(RefusedError, match="would not fit"):
        run_train(plan)

    assert not plan.run.path.exists()
    assert ray.is_initialized() == was_initialized
