"""The whole recipe: curate, evaluate the base model, train, evaluate at every budget, report."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from s1ray.config.recipe import Recipe
from s1ray.config.report import ReportJobConfig
from s1ray.evaluation.comparators import list_comparators
from s1ray.orchestration.evaluate import RESULTS, gather_results, plan_trained, show_results
from s1ray.orchestration.evaluation import EvaluationPlan, plan_evaluation, run_evaluation
from s1ray.orchestration.questions import read_questions
from s1ray.orchestration.runs import (
    Run,
    begin_run,
    dump_config,
    finish_run,
    point_latest,
    read_manifest,
    update_description,
    write_json,
)
from s1ray.orchestration.session import ray_session
from s1ray.orchestration.stage import name_stage
from s1ray.orchestration.terminal import say
from s1ray.orchestration.train import TrainPlan, prepare_train, run_train
from s1ray.reporting.html import build_report

REPORT = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproducePlan:
    """The whole recipe, checked and named; nothing has been started."""

    recipe: Recipe
    run: Run
    base: EvaluationPlan
    training: TrainPlan


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
    return ReproducePlan(recipe=recipe, run=run, base=base, training=training)


def run_reproduce(plan: ReproducePlan) -> Path:
    """Do what is missing of the recipe, write its results and its report."""
    recipe, run = plan.recipe, plan.run
    say(f"reproduce: {run.path}")
    begin_run(run, config_yaml=dump_config(recipe))
    began = time.monotonic()
    with ray_session(recipe.ray):
        train_path = run_train(plan.training)
        run_evaluation(plan.base)
        trained = plan_trained(recipe, train_path)
        run_evaluation(trained)
    evaluations = [plan.base, trained]
    write_json(run.path / RESULTS, gather_results(evaluations))
    curation = plan.training.curation
    stages = {
        **({"curate": curation.run.path} if curation else {}),
        "base": plan.base.run.path,
        "train": train_path,
        "trained": trained.run.path,
    }
    describe_stages(run, stages)
    page = build_report(
        [run.path],
        comparators=list_comparators(recipe.comparators, benchmarks=list(recipe.benchmark)),
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


def prepare_report(config: ReportJobConfig) -> ReportJobConfig:
    """Check that the runs are there.

    Raises:
        ValueError: One is no run directory.
    """
    for path in config.runs:
        if not (Path(path) / "run.json").is_file():
            raise ValueError(
                f"runs names {path}, which is no run directory (it has no run.json). Jobs print "
                "their directory last; runs/latest is the last pipeline run."
            )
    return config


def run_report(config: ReportJobConfig) -> Path:
    """Build the page of finished runs."""
    paths = [Path(path).resolve() for path in config.runs]
    names = {name for system in config.comparators.systems for name in system.accuracy_percent}
    return build_report(
        paths,
        comparators=list_comparators(config.comparators, benchmarks=names),
        output=Path(config.output) if config.output else paths[0] / REPORT,
        config=config.report,
    )
