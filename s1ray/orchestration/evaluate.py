"""``jobs.evaluate``: the base model, the trained one or any other at every budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s1ray.config.recipe import Recipe
from s1ray.evaluation.metrics import measure_cost
from s1ray.evaluation.results import build_results
from s1ray.evaluation.store import read_scores
from s1ray.generation.budget import BudgetPolicy
from s1ray.orchestration.evaluation import EvaluationPlan, plan_evaluation, run_evaluation
from s1ray.orchestration.models import prepare_model, read_model
from s1ray.orchestration.questions import read_questions
from s1ray.orchestration.runs import read_manifest, write_json
from s1ray.orchestration.terminal import console
from s1ray.orchestration.tracking import SAMPLES
from s1ray.orchestration.train import TrainPlan, prepare_train, run_train
from s1ray.reporting.read import read_experiment, read_results
from s1ray.reporting.tables import build_budgets_table, render_terminal
from s1ray.training.fine_tune import EXPORT

RESULTS = "results.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPlan:
    """What is to be evaluated; where it is still to be trained, the training comes first."""

    recipe: Recipe
    training: TrainPlan | None
    evaluation: EvaluationPlan | None
    """None until the model is trained."""


def prepare_evaluate(recipe: Recipe) -> TargetPlan:
    """Check and name the evaluation of ``recipe.target``.

    Raises:
        ValueError: The target or a benchmark cannot be had.
    """
    if recipe.target == "trained":
        return TargetPlan(recipe=recipe, training=prepare_train(recipe), evaluation=None)
    if recipe.target == "base":
        model, label = prepare_model(recipe.model, recipe.paths), "base"
    else:
        path = Path(recipe.target).expanduser()
        if not (path / "config.json").is_file():
            raise ValueError(
                f"target={recipe.target!r} is neither base, trained nor a model directory (with a "
                "config.json). Point it at a run's export directory, or use base or trained."
            )
        model, label = read_model(path), "other"
    evaluation = plan_evaluation(
        recipe, model=model, label=label, questions=read_questions(recipe), budget=recipe.budget
    )
    return TargetPlan(recipe=recipe, training=None, evaluation=evaluation)


def run_evaluate(plan: TargetPlan) -> Path:
    """Evaluate, write ``results.json``, show its table, and return the run's directory."""
    evaluation = plan.evaluation
    if evaluation is None:
        assert plan.training is not None
        evaluation = plan_trained(plan.recipe, run_train(plan.training))
    run_evaluation(evaluation)
    path = evaluation.run.path
    write_json(path / RESULTS, gather_results([evaluation]))
    show_results(path)
    return path


def plan_trained(recipe: Recipe, train_path: Path) -> EvaluationPlan:
    """Plan the evaluation of what a training run exported."""
    return plan_evaluation(
        recipe,
        model=read_model(train_path / EXPORT),
        label="trained",
        questions=read_questions(recipe),
        budget=recipe.budget,
    )


def gather_results(plans: Sequence[EvaluationPlan]) -> dict[str, Any]:
    """Return the content of ``results.json`` over finished evaluations of one recipe."""
    policies: dict[str, BudgetPolicy] = {}
    for plan in plans:
        policies |= {policy.name: policy for policy in plan.policies}
    scores = [score for plan in plans for score in read_scores(plan.run.path / SAMPLES)]
    seconds = sum((read_manifest(plan.run.path) or {})["summary"]["seconds"] for plan in plans)
    return build_results(
        scores,
        policies=tuple(policies.values()),
        models={plan.groups[0].model: plan.label for plan in plans},
        config=plans[0].recipe.evaluation,
        same={},
        cost=measure_cost(scores, seconds=seconds, dollars=None),
    )


def show_results(path: Path) -> None:
    """Print the table of budgets of every benchmark in a directory's ``results.json``."""
    points = read_results(read_experiment(path)).points
    for benchmark in sorted({point.benchmark for point in points}):
        console.print(render_terminal(build_budgets_table(points, benchmark=benchmark)))
