"""What a target of an evaluation is: a model directory, or an adapter beside the recipe's model."""

from collections.abc import Callable
from pathlib import Path

import pytest

from s1ray.config.recipe import Recipe
from s1ray.orchestration.answering.evaluate import prepare_evaluate
from s1ray.orchestration.answering.evaluation import EvaluationPlan
from s1ray.orchestration.models import read_model
from tests.fakes import write_tiny_qwen2
from tests.orchestration.adapters import write_adapter

Tiny = Callable[..., Recipe]


def _plan(recipe: Recipe) -> EvaluationPlan:
    plan = prepare_evaluate(recipe).evaluation
    assert plan is not None
    return plan


def test_model_directory_is_evaluated_under_a_name_of_its_own(tiny: Tiny, tmp_path: Path) -> None:
    directory = write_tiny_qwen2(tmp_path / "model", seed=1)

    plan = _plan(tiny(f"target={directory}"))

    assert plan.model == read_model(directory)
    assert plan.label == "other"
    assert plan.run.name.startswith("tiny-other-")
    assert all(plan.model.fingerprint.weights.startswith(group.model) for group in plan.groups)


def test_adapter_directory_is_evaluated_on_the_recipes_model(tiny: Tiny, tmp_path: Path) -> None:
    directory = write_adapter(tmp_path / "adapter")
    base = _plan(tiny("target=base"))

    plan = _plan(tiny(f"target={directory}"))

    assert (plan.model.path, plan.model.adapter) == (base.model.path, directory)
    assert plan.model.fingerprint.weights != base.model.fingerprint.weights
    assert plan.label == "other"


def test_directory_that_is_neither_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither base, trained nor a model directory"):
        prepare_evaluate(tiny(f"target={tmp_path}"))
