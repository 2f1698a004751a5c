"""``jobs.evaluate``: the base model, the trained one or any other at every budget."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from s1ray.config.recipe import Recipe
from s1ray.evaluation.metrics import measure_cost
from s1ray.evaluation.results import build_results
from s1ray.evaluation.store import SAMPLES, read_scores
from s1ray.generation.budget import BudgetPolicy
from s1ray.grading.pool import GraderPool
from s1ray.model_source.model_directory import ADAPTER_CONFIG_FILE
from s1ray.orchestration.answering.evaluation import EvaluationPlan, plan_evaluation, run_evaluation
from s1ray.orchestration.answering.questions import QuestionSet, read_questions
from s1ray.orchestration.fine_tune.train import TrainPlan, prepare_train, run_train
from s1ray.orchestration.models import (
    PreparedModel,
    prepare_model,
    read_export,
    read_model,
)
from s1ray.orchestration.run_directory.runs import read_summary, write_json
from s1ray.orchestration.steps import MISSING, NAMED_LATER, Step
from s1ray.orchestration.terminal import console
from s1ray.planning.estimate import SECONDS_PER_HOUR
from s1ray.reporting.reading.read import read_experiment, read_results
from s1ray.reporting.tables.tables import build_budgets_table, render_terminal
from s1ray.training.fine_tune import EXPORT

RESULTS = "results.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPlan:
    """What is to be evaluated; where it is still to be trained, the training comes first."""

    recipe: Recipe
    training: TrainPlan | None
    evaluation: EvaluationPlan | None
    """None until the model is trained."""

    def list_steps(self) -> list[Step]:
        """Return the evaluation and what comes before it."""
        if self.evaluation is not None:
            return self.evaluation.list_steps()
        assert self.training is not None
        return [*self.training.list_steps(), *list_trained(self.recipe, self.training)]


def list_trained(recipe: Recipe, training: TrainPlan) -> list[Step]:
    """Return the evaluation of a trained model, which has no name before it is trained."""
    steps = check_trained(recipe, training, questions=read_questions(recipe)).list_steps()
    if training.run.is_finished:
        return steps
    name = f"{NAMED_LATER}, {training.run.name}"
    return [replace(step, name=name, state=MISSING) for step in steps]


def check_trained(recipe: Recipe, training: TrainPlan, *, questions: QuestionSet) -> EvaluationPlan:
    """Plan the evaluation of a trained model, so that its faults are told before the training.

    Args:
        recipe: Of both.
        training: Where it is not finished, the model that it begins from stands in the plan, and
            the run's name is not yet the one that it will have.
        questions: By benchmark.

    Raises:
        ValueError: As ``plan_evaluation`` raises it.
    """
    model = training.model
    if training.run.is_finished:
        model = read_export(training.run.path / EXPORT, base=model)
    return plan_evaluation(
        recipe, model=model, label="trained", questions=questions, budget=recipe.budget
    )


def prepare_evaluate(recipe: Recipe) -> TargetPlan:
    """Check and name the evaluation of ``recipe.target``.

    Raises:
        ValueError: The target, a benchmark or the judge's key cannot be had, or a part of the
            configuration does not fit another.
    """
    if recipe.target == "trained":
        training = prepare_train(recipe)
        check_trained(recipe, training, questions=read_questions(recipe))
        return TargetPlan(recipe=recipe, training=training, evaluation=None)
    if recipe.target == "base":
        model, label = prepare_model(recipe.model, recipe.paths), "base"
    else:
        model, label = _read_target(recipe), "other"
    evaluation = plan_evaluation(
        recipe, model=model, label=label, questions=read_questions(recipe), budget=recipe.budget
    )
    return TargetPlan(recipe=recipe, training=None, evaluation=evaluation)


def _read_target(recipe: Recipe) -> PreparedModel:
    path = Path(recipe.target).expanduser()
    if (path / "config.json").is_file():
        return read_model(path)
    if (path / ADAPTER_CONFIG_FILE).is_file():
        return read_export(path, base=prepare_model(recipe.model, recipe.paths))
    raise ValueError(
        f"target={recipe.target!r} is neither base, trained nor a model directory (with a "
        f"config.json, or an adapter's {ADAPTER_CONFIG_FILE}). Point it at a run's export "
        "directory, or use base or trained."
    )


def run_evaluate(plan: TargetPlan) -> Path:
    """Evaluate, write ``results.json``, show its table, and return the run's directory."""
    evaluation = plan.evaluation
    if evaluation is None:
        assert plan.training is not None
        evaluation = plan_trained(plan.recipe, run_train(plan.training), base=plan.training.model)
    run_evaluation(evaluation)
    path = evaluation.run.path
    write_json(path / RESULTS, gather_results([evaluation]))
    show_results(path)
    return path


def plan_trained(recipe: Recipe, train_path: Path, *, base: PreparedModel) -> EvaluationPlan:
    """Plan the evaluation of what a training run exported; an adapter is not merged for it."""
    return plan_evaluation(
        recipe,
        model=read_export(train_path / EXPORT, base=base),
        label="trained",
        questions=read_questions(recipe),
        budget=recipe.budget,
    )


def gather_results(plans: Sequence[EvaluationPlan]) -> dict[str, Any]:
    """Return the content of ``results.json`` over finished evaluations of one recipe."""
    policies: dict[str, BudgetPolicy] = {}
    for plan in plans:
        policies |= {policy.name: policy for policy in plan.policies}
    recipe = plans[0].recipe
    scores = [score for plan in plans for score in read_scores(plan.run.path / SAMPLES)]
    seconds = sum(read_summary(plan.run.path)["seconds"] for plan in plans)
    questions = {
        (group.benchmark, group.question.id): group.question
        for plan in plans
        for group in plan.groups
    }
    with GraderPool(recipe.grading) as pool:
        results = build_results(
            scores,
            policies=tuple(policies.values()),
            models={plan.groups[0].model: plan.label for plan in plans},
            config=recipe.evaluation,
            same={
                item: partial(pool.is_same, kind=question.answer_kind)
                for item, question in questions.items()
            },
            cost=measure_cost(scores, seconds=seconds, dollars=price_seconds(recipe, seconds)),
        )
    notes = {note.name: asdict(note) for plan in plans for note in plan.benchmarks}
    return {**results, "benchmarks": notes}


def price_seconds(recipe: Recipe, seconds: float) -> float | None:
    """Return what so long an evaluation costs; None where the devices have no price.

    Its devices are those of its replicas, at the price of the recipe's cluster.
    """
    devices = recipe.serving.num_replicas * recipe.serving.num_gpus
    rate = devices * recipe.cluster.dollars_per_device_hour
    return rate * seconds / SECONDS_PER_HOUR if rate else None


def show_results(path: Path) -> None:
    """Print the table of budgets of every benchmark in a directory's ``results.json``."""
    points = read_results(read_experiment(path)).points
    for benchmark in sorted({point.benchmark for point in points}):
        console.print(render_terminal(build_budgets_table(points, benchmark=benchmark)))
