"""A sweep on paper: its points become trials, and what several have in common is done once.

A trial is one evaluation of one training run. Points that differ in caps and Waits alone are one
trial, so that their budgets share chains of thinking; trials whose training is the same name the
same training run, which whoever comes first does.
"""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s1ray.config.generation import BudgetConfig
from s1ray.config.recipe import Recipe
from s1ray.config.search import (
    FifoConfig,
    LogUniformAxisConfig,
    OptionsAxisConfig,
    SearchConfig,
    TrialsConfig,
)
from s1ray.orchestration.answering.evaluate import check_trained, list_trained
from s1ray.orchestration.answering.evaluation import describe_protocol
from s1ray.orchestration.answering.judge import check_judge
from s1ray.orchestration.answering.questions import QuestionSet, read_questions
from s1ray.orchestration.dashboard.sink import RUN_ID, TRIAL
from s1ray.orchestration.fine_tune.train import TrainPlan, prepare_train
from s1ray.orchestration.run_directory.runs import Run
from s1ray.orchestration.stage import name_stage
from s1ray.orchestration.steps import Step, describe_step
from s1ray.orchestration.sweeps.composing import compose_points
from s1ray.orchestration.sweeps.space import Point, draw_points, equalise

AGENT = (RUN_ID, "WANDB_SWEEP_ID")
"""Environment variables by which W&B's agent names its run and its sweep."""
MERGED = ("max_thinking_tokens", "num_waits")
"""Parts of a budget that one evaluation takes any number of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPlan:
    """One evaluation of one training run, named; nothing has been started."""

    run: Run
    label: str
    """What tells it from the sweep's other trials."""
    labels: Mapping[str, str]
    """Its value on every axis that tells trials apart."""
    recipe: Recipe
    """With the budgets of all its points."""
    training: TrainPlan
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """All trials of a sweep, named; nothing has been started."""

    recipe: Recipe
    """The sweep's own: what its points start from."""
    overrides: tuple[str, ...]
    """Of the command line."""
    run: Run
    trials: tuple[TrialPlan, ...]
    num_points: int
    agent: Mapping[str, str]
    """What W&B's agent told this process, for the one that runs the trial, wherever that is."""

    def list_steps(self) -> list[Step]:
        """Return the distinct steps of all trials, and the sweep last."""
        steps = [step for trial in self.trials for step in trial.training.list_steps()]
        for trial in self.trials:
            steps += list_trained(trial.recipe, trial.training)
        what = f"{self.num_points} points in {len(self.trials)} trials"
        return [*steps, describe_step(self.run, cost=what)]

    @property
    def stopped_path(self) -> Path:
        """Where it is kept which trials were stopped early."""
        return self.run.path / "stopped"


def prepare_sweep(recipe: Recipe, overrides: Sequence[str]) -> SweepPlan:
    """Draw the points, check each, and plan the distinct steps.

    Raises:
        ValueError: The space is empty, a point is no legal recipe, or trials cannot be told apart.
    """
    if recipe.checkpoint.resume == "never":
        raise ValueError(
            "checkpoint.resume=never would train anew in every trial what trials share, and again "
            "after each restart. Leave it out, or give the sweep a name= of its own."
        )
    check_judge(recipe.grading)
    points = [
        dataclasses.replace(point, changes={**point.changes, **equalise(recipe.search.equal)})
        for point in draw_points(recipe.search)
    ]
    trials = _plan_trials(recipe.search, compose_points(overrides, points))
    scheduler = recipe.scheduler
    identity = {
        "trials": [trial.run.name for trial in trials],
        # How trials are run is no part of it; how they are stopped is.
        "scheduler": scheduler.kind
        if isinstance(scheduler, FifoConfig)
        else scheduler.model_dump(
            mode="json", exclude=set(TrialsConfig.model_fields) - {"report_every_tokens"}
        ),
    }
    run = name_stage(recipe, stage="sweep", slug=recipe.name, identity=identity)
    return SweepPlan(
        recipe=recipe,
        overrides=tuple(overrides),
        run=run,
        trials=tuple(_follow_as(trial, sweep=run.name) for trial in trials),
        num_points=len(points),
        agent={name: os.environ[name] for name in AGENT if name in os.environ},
    )


@dataclass(slots=True)
class _Prepared:
    """What points of one sweep share, so that models and pools are looked at once."""

    trainings: dict[str, TrainPlan]
    questions: dict[str, QuestionSet]

    def prepare_train(self, recipe: Recipe) -> TrainPlan:
        key = recipe.model_dump_json(exclude={"budget", "base_budget", "target", "search"})
        if key not in self.trainings:
            self.trainings[key] = prepare_train(recipe)
        return self.trainings[key]

    def read_questions(self, recipe: Recipe) -> QuestionSet:
        key = recipe.model_dump_json(include={"benchmark"})
        if key not in self.questions:
            self.questions[key] = read_questions(recipe)
        return self.questions[key]


def _plan_trials(
    search: SearchConfig, composed: Iterable[tuple[Point, Recipe]]
) -> tuple[TrialPlan, ...]:
    """Join the points that one evaluation of one training run answers."""
    prepared = _Prepared(trainings={}, questions={})
    groups: dict[str, list[tuple[Point, Recipe]]] = {}
    for point, recipe in composed:
        training = prepared.prepare_train(recipe)
        protocol = _describe(recipe, prepared)
        protocol["budget"] = {
            key: value for key, value in protocol["budget"].items() if key not in MERGED
        }
        key = json.dumps([training.run.name, protocol], sort_keys=True)
        groups.setdefault(key, []).append((point, recipe))
    apart = find_axes_apart([[point for point, _ in group] for group in groups.values()])
    trials = tuple(
        _plan_trial(search, group, apart=apart, prepared=prepared) for group in groups.values()
    )
    if len({trial.label for trial in trials}) < len(trials):
        raise ValueError(
            f"trials of this search cannot be told apart: {[trial.label for trial in trials]}. "
            "Give its axes values that differ in more than caps and Waits, or sweep those apart."
        )
    return trials


def _describe(recipe: Recipe, prepared: _Prepared) -> dict[str, Any]:
    questions = prepared.read_questions(recipe)
    return describe_protocol(recipe, questions=questions, budget=recipe.budget)


def _plan_trial(
    search: SearchConfig,
    group: Sequence[tuple[Point, Recipe]],
    *,
    apart: Sequence[str],
    prepared: _Prepared,
) -> TrialPlan:
    recipe = group[0][1]
    budget = merge_budgets([member.budget for _, member in group])
    recipe = recipe.model_copy(update={"budget": budget})
    training = prepared.prepare_train(recipe)
    identity = {"training": training.run.name, "protocol": _describe(recipe, prepared)}
    run = name_stage(recipe, stage=TRIAL, slug=recipe.name, identity=identity)
    if not run.is_finished:
        check_trained(recipe, training, questions=prepared.read_questions(recipe))
    values = {axis: _list_values(axis, [point for point, _ in group]) for axis in apart}
    labels = {axis: "+".join(found) for axis, found in values.items()}
    words = [
        label if isinstance(search.axes[axis], OptionsAxisConfig) else f"{axis}={label}"
        for axis, label in labels.items()
    ]
    return TrialPlan(
        run=run,
        label=", ".join(words) or "trained",
        labels=labels,
        recipe=recipe.model_copy(
            update={
                "search": fix_axes(
                    search, {axis: found[0] for axis, found in values.items() if len(found) == 1}
                )
            }
        ),
        training=training,
        points=tuple(point for point, _ in group),
    )


def find_axes_apart(trials: Sequence[Sequence[Point]]) -> tuple[str, ...]:
    """Return the axes that tell trials apart: not every trial has the same values on them."""
    axes = trials[0][0].labels
    return tuple(
        axis for axis in axes if len({_list_values(axis, points) for points in trials}) > 1
    )


def _list_values(axis: str, points: Sequence[Point]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(point.labels[axis] for point in points))


def fix_axes(search: SearchConfig, labels: Mapping[str, str]) -> SearchConfig:
    """Return the space of one trial: what a dashboard shows as its place on every axis."""
    axes = {
        name: axis
        if name not in labels
        else axis.model_copy(
            update={
                "only": float(labels[name])
                if isinstance(axis, LogUniformAxisConfig)
                else labels[name]
            }
        )
        for name, axis in search.axes.items()
    }
    return search.model_copy(update={"axes": axes})


def merge_budgets(budgets: Sequence[BudgetConfig]) -> BudgetConfig:
    """Return one grid with every cap and every number of Waits, in the order they come."""
    merged = {
        name: tuple(dict.fromkeys(value for budget in budgets for value in getattr(budget, name)))
        for name in MERGED
    }
    return budgets[0].model_copy(update=merged)


def _follow_as(trial: TrialPlan, *, sweep: str) -> TrialPlan:
    """Let a trial and its training stand under the sweep in the dashboard."""

    def place(recipe: Recipe) -> Recipe:
        tracking = recipe.tracking
        tags = (*tracking.tags, f"sweep:{sweep}")
        changes = {"group": tracking.group or sweep, "tags": tags}
        return recipe.model_copy(update={"tracking": tracking.model_copy(update=changes)})

    training = dataclasses.replace(trial.training, recipe=place(trial.training.recipe))
    return dataclasses.replace(trial, recipe=place(trial.recipe), training=training)
