"""The whole recipe: evaluate the base model, curate, train, evaluate at every budget, report."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s1ray.config.recipe import Recipe
from s1ray.orchestration.answering.evaluate import (
    RESULTS,
    check_trained,
    gather_results,
    list_trained,
    plan_trained,
    show_results,
)
from s1ray.orchestration.answering.evaluation import EvaluationPlan, plan_evaluation, run_evaluation
from s1ray.orchestration.answering.questions import read_questions
from s1ray.orchestration.cluster.session import ray_session
from s1ray.orchestration.fine_tune.accounts import sum_costs
from s1ray.orchestration.fine_tune.train import TrainPlan, prepare_train, run_train
from s1ray.orchestration.report import REPORT, write_page
from s1ray.orchestration.run_directory.runs import (
    Run,
    finish_run,
    point_latest,
    read_manifest,
    update_description,
    write_json,
)
from s1ray.orchestration.stage import hold_run, name_stage
from s1ray.orchestration.steps import Step, describe_step
from s1ray.orchestration.terminal import say, show_header


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproducePlan:
    """The whole recipe, checked and named; nothing has been started."""

    recipe: Recipe
    run: Run
    base: EvaluationPlan
    training: TrainPlan

    def list_steps(self) -> list[Step]:
        """Return every stage, and the report last."""
        return [
            *self.base.list_steps(),
            *self.training.list_steps(),
            *list_trained(self.recipe, self.training),
            describe_step(self.run, cost="results and report"),
        ]


def prepare_reproduce(recipe: Recipe) -> ReproducePlan:
    """Check and name every stage that can be named before anything runs.

    Raises:
        ValueError: Something that a stage needs is missing or wrong.
    """
    training = prepare_train(recipe)
    questions = read_questions(recipe)
    base = plan_evaluation(
        recipe,
        model=training.model,
        label="base",
        questions=questions,
        budget=recipe.base_budget,
    )
    check_trained(recipe, training, questions=questions)
    identity = {
        "training": training.run.name,
        "base": base.run.name,
        "budget": recipe.budget.model_dump(mode="json"),
    }
    run = name_stage(recipe, stage="reproduce", slug=recipe.name, identity=identity)
    return ReproducePlan(recipe=recipe, run=run, base=base, training=training)


def run_reproduce(plan: ReproducePlan) -> Path:
    """Do what is missing of the recipe, write results and report; return the run's directory.

    Raises:
        RefusedError: Another job holds the run, or that of a stage.
    """
    recipe, run = plan.recipe, plan.run
    is_done = _is_done(plan)
    show_header(run.stage, run.path, kept="finished" if is_done else "")
    if is_done:
        _do_stages(plan)
    else:
        began = time.monotonic()
        with hold_run(run, recipe):
            with ray_session(recipe.ray):
                trained = _do_stages(plan)
            _conclude(plan, trained)
        say(f"finished in {time.monotonic() - began:.0f} s")
    point_latest(run.path.parents[1], run)
    show_results(run.path)
    say(f"report: {run.path / REPORT}")
    return run.path


def _is_done(plan: ReproducePlan) -> bool:
    """Whether the recipe was finished before, and nothing of it has been removed since."""
    is_planned_done = all(run.is_finished for run in (plan.run, plan.training.run, plan.base.run))
    return is_planned_done and _plan_trained(plan).run.is_finished


def _plan_trained(plan: ReproducePlan) -> EvaluationPlan:
    return plan_trained(plan.recipe, plan.training.run.path, base=plan.training.model)


def _do_stages(plan: ReproducePlan) -> EvaluationPlan:
    """Do what is missing of every stage, and return the evaluation of the trained model.

    A stage that is finished says so, and sends W&B what it lacks.
    """
    # The base model first: what an evaluation lacks comes up before anything dear is trained.
    run_evaluation(plan.base)
    run_train(plan.training)
    trained = _plan_trained(plan)
    run_evaluation(trained)
    return trained


def _conclude(plan: ReproducePlan, trained: EvaluationPlan) -> None:
    """Write results and report over finished stages, and finish the run."""
    run, recipe, training = plan.run, plan.recipe, plan.training
    results = gather_results([plan.base, trained])
    results["cost"] = {**results["cost"], "training": sum_costs([training.run.path])}
    write_json(run.path / RESULTS, results)
    stages = {
        **({"curate": training.curation.run.path} if training.curation else {}),
        "base": plan.base.run.path,
        "train": training.run.path,
        "trained": trained.run.path,
    }
    update_description(run, **describe_stages(run, stages))
    write_page(
        [run.path],
        labels=None,
        comparators=recipe.comparators,
        output=run.path / REPORT,
        config=recipe.report,
    )
    finish_run(run, files=[RESULTS, REPORT], summary={"stages": sorted(stages)})


def describe_stages(run: Run, stages: Mapping[str, Path]) -> dict[str, Any]:
    """Return what ``run.json`` says of a run's stages: where they lie and how long each took.

    One that was removed, such as the curation of a training that is finished, has no seconds; a
    page says that it is missing.
    """
    found = {name: read_manifest(path) for name, path in stages.items()}
    return {
        "steps": {name: os.path.relpath(path, run.path) for name, path in stages.items()},
        "seconds": {name: one["summary"]["seconds"] for name, one in found.items() if one},
    }
