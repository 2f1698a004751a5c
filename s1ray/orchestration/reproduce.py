"""The whole recipe: curate, evaluate the base model, train, evaluate at every budget, report."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from s1ray.config.recipe import Recipe
from s1ray.orchestration.answering.evaluate import (
    RESULTS,
    gather_results,
    list_trained,
    plan_trained,
    show_results,
)
from s1ray.orchestration.answering.evaluation import EvaluationPlan, plan_evaluation, run_evaluation
from s1ray.orchestration.answering.judge import check_judge
from s1ray.orchestration.answering.questions import read_questions
from s1ray.orchestration.cluster.session import ray_session
from s1ray.orchestration.fine_tune.accounts import sum_costs
from s1ray.orchestration.fine_tune.train import TrainPlan, prepare_train, run_train
from s1ray.orchestration.report import REPORT, write_page
from s1ray.orchestration.run_directory.keeping import describe_kept
from s1ray.orchestration.run_directory.runs import (
    Run,
    begin_run,
    dump_config,
    finish_run,
    point_latest,
    read_manifest,
    update_description,
    write_json,
)
from s1ray.orchestration.stage import name_stage
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
            *self.training.list_steps(),
            *self.base.list_steps(),
            *list_trained(self.recipe, self.training),
            describe_step(self.run, cost="results and report"),
        ]


def prepare_reproduce(recipe: Recipe) -> ReproducePlan:
    """Check and name every stage that can be named before anything runs.

    Raises:
        ValueError: Something that a stage needs is missing or wrong.
    """
    training = prepare_train(recipe)
    base = plan_evaluation(
        recipe,
        model=training.model,
        label="base",
        questions=read_questions(recipe),
        budget=recipe.base_budget,
    )
    identity = {
        "training": training.run.name,
        "base": base.run.name,
        "budget": recipe.budget.model_dump(mode="json"),
    }
    run = name_stage(recipe, stage="reproduce", slug=recipe.name, identity=identity)
    if not run.is_finished:
        check_judge(recipe.grading)
    return ReproducePlan(recipe=recipe, run=run, base=base, training=training)


def run_reproduce(plan: ReproducePlan) -> Path:
    """Do what is missing of the recipe, write results and report; return the run's directory."""
    recipe, run = plan.recipe, plan.run
    show_header(run.stage, run.path, kept=describe_kept(run.path))
    begin_run(run, config_yaml=dump_config(recipe))
    began = time.monotonic()
    with ray_session(recipe.ray):
        train_path = run_train(plan.training)
        run_evaluation(plan.base)
        trained = plan_trained(recipe, train_path, base=plan.training.model)
        run_evaluation(trained)
    evaluations = [plan.base, trained]
    results = gather_results(evaluations)
    results["cost"] = {**results["cost"], "training": sum_costs([train_path])}
    write_json(run.path / RESULTS, results)
    curation = plan.training.curation
    stages = {
        **({"curate": curation.run.path} if curation else {}),
        "base": plan.base.run.path,
        "train": train_path,
        "trained": trained.run.path,
    }
    describe_stages(run, stages)
    page = write_page(
        [run.path],
        labels=None,
        comparators=recipe.comparators,
        output=run.path / REPORT,
        config=recipe.report,
    )
    say(f"finished in {time.monotonic() - began:.0f} s")
    finish_run(run, files=[RESULTS, REPORT], summary={"stages": sorted(stages)})
    point_latest(run.path.parents[1], run)
    show_results(run.path)
    say(f"report: {page}")
    return run.path


def describe_stages(run: Run, stages: dict[str, Path]) -> None:
    """Record in ``run.json`` where the stages lie and how long each took."""
    summaries = {name: (read_manifest(path) or {})["summary"] for name, path in stages.items()}
    update_description(
        run,
        steps={name: os.path.relpath(path, run.path) for name, path in stages.items()},
        seconds={name: summary["seconds"] for name, summary in summaries.items()},
    )
