"""Evaluate a model on Serve replicas: each graded answer is on disk before anybody hears of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from s1ray.config.generation import BudgetConfig
from s1ray.config.grading import GradingConfig
from s1ray.config.recipe import Recipe
from s1ray.evaluation.evaluate import Solve, evaluate
from s1ray.evaluation.samples import FailedSample, SampleGroup, plan_groups
from s1ray.evaluation.store import SAMPLES, UNGRADED_SAMPLES
from s1ray.generation.budget import BudgetPolicy, check_draws, expand_policies
from s1ray.orchestration.answering.grading_session import (
    GradingSession,
    count_samples,
    grade_rest,
    open_grading,
    restore_progress,
)
from s1ray.orchestration.answering.judge import check_judge, say_refused
from s1ray.orchestration.answering.questions import BenchmarkNote, QuestionSet
from s1ray.orchestration.answering.regrade import find_answers, grade_anew
from s1ray.orchestration.answering.serve import Replica, ReplicaSettings, evaluation_replicas
from s1ray.orchestration.cluster.session import ray_session
from s1ray.orchestration.models import PreparedModel
from s1ray.orchestration.run_directory.runs import Run
from s1ray.orchestration.stage import name_stage, open_stage, show_finished
from s1ray.orchestration.steps import Step, describe_step
from s1ray.orchestration.terminal import say, show_progress


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """One evaluation, checked and named; nothing has been started."""

    recipe: Recipe
    run: Run
    model: PreparedModel
    label: str
    """What the model is called in results: base, trained or other."""
    policies: tuple[BudgetPolicy, ...]
    groups: tuple[SampleGroup, ...]
    benchmarks: tuple[BenchmarkNote, ...]

    def list_steps(self) -> list[Step]:
        """Return the evaluation."""
        samples, budgets = len(self.groups), len(self.policies)
        cost = f"{samples * budgets:,} answers: {samples:,} samples at {budgets} budgets"
        return [describe_step(self.run, cost=cost)]


def plan_evaluation(
    recipe: Recipe,
    *,
    model: PreparedModel,
    label: str,
    questions: QuestionSet,
    budget: BudgetConfig,
) -> EvaluationPlan:
    """Check and name an evaluation.

    Args:
        recipe: All that the evaluation is not given below.
        model: That is evaluated.
        label: What results call it, such as base.
        questions: By benchmark.
        budget: The grid of policies.

    Raises:
        ValueError: There is nothing to do, a part of the configuration does not fit another, or the
            judge's key is missing where there is something to grade.
    """
    policies = expand_policies(budget)
    for policy in policies:
        check_draws(policy, temperature=recipe.sampling.temperature)
    identity = {
        "model": model.describe(),
        "label": label,
        **describe_protocol(recipe, questions=questions, budget=budget),
    }
    run = name_stage(recipe, stage="evaluate", slug=f"{recipe.name}-{label}", identity=identity)
    if not run.is_finished:
        check_judge(recipe.grading)
    return EvaluationPlan(
        recipe=recipe,
        run=run,
        model=model,
        label=label,
        policies=policies,
        groups=_plan_groups(recipe, model=model, questions=questions, policies=policies),
        benchmarks=questions.notes,
    )


def _plan_groups(
    recipe: Recipe,
    *,
    model: PreparedModel,
    questions: QuestionSet,
    policies: Sequence[BudgetPolicy],
) -> tuple[SampleGroup, ...]:
    return plan_groups(
        questions.questions,
        private=questions.private,
        policies=[policy.name for policy in policies],
        model=model.fingerprint.weights[:16],
        num_samples=recipe.evaluation.num_samples,
        seed=recipe.evaluation.seed,
    )


def describe_protocol(
    recipe: Recipe, *, questions: QuestionSet, budget: BudgetConfig
) -> dict[str, Any]:
    """Return everything but the model that an evaluation's samples depend on."""
    return {
        "questions": questions.digest(),
        "budget": budget.model_dump(mode="json"),
        **describe_answering(recipe),
    }


def describe_answering(recipe: Recipe) -> dict[str, Any]:
    """Return how a model's answers come about and are graded, whatever it is asked."""
    engine = recipe.engine
    return {
        "sampling": recipe.sampling.model_dump(mode="json"),
        "engine": {"kind": engine.kind, "dtype": engine.dtype},
        "format": {
            "delimiters": recipe.model.delimiters,
            "system_prompt": recipe.model.system_prompt,
            "context_tokens": recipe.model.context_tokens,
        },
        "num_samples": recipe.evaluation.num_samples,
        "seed": recipe.evaluation.seed,
        "grading": describe_grading(recipe.grading),
    }


def describe_grading(config: GradingConfig) -> dict[str, Any]:
    """Return what decides verdicts: of a judge its model and prompt, not how it is reached."""
    described = config.model_dump(mode="json", exclude={"pool", "judge"})
    if config.judge is not None:
        endpoint = config.judge.endpoint
        described["judge"] = {
            "base_url": endpoint.base_url,
            "model": endpoint.model,
            "prompt": config.judge.prompt,
        }
    return described


def run_evaluation(plan: EvaluationPlan, *, replica: type[Replica] = Replica) -> Path:
    """Do what is missing of an evaluation and return its directory.

    Args:
        plan: What is to be done.
        replica: What a deployment holds; another one only to watch it at work.

    Raises:
        RuntimeError: Samples could not be generated, or not graded; what succeeded is kept and a
            rerun does the rest.
    """
    run, recipe = plan.run, plan.recipe
    if run.is_finished:
        show_finished(run, recipe)
        return run.path
    for note in plan.benchmarks:
        say(f"  {note.describe()}")
    answers = find_answers(run)
    if answers is not None:
        return grade_anew(run, recipe, groups=plan.groups, answers=answers, label=plan.label)
    with open_stage(run, recipe) as stage:
        with open_grading(run, recipe) as session:
            if session.aside.missing(session.store.missing(plan.groups)):
                _generate(plan, session, replica=replica)
            else:
                restore_progress(run, session, groups=plan.groups)
            if session.store.missing(plan.groups):
                rest = grade_rest(run, recipe, session, groups=plan.groups, label=plan.label)
                asyncio.run(rest)
        (run.path / UNGRADED_SAMPLES).unlink()
        say_refused(recipe.grading, run.path / SAMPLES)
        stage.files.append(SAMPLES)
        stage.summary["label"] = plan.label
    return run.path


def _generate(plan: EvaluationPlan, session: GradingSession, *, replica: type[Replica]) -> None:
    """Have replicas solve every sample that the session lacks."""
    run, recipe = plan.run, plan.recipe
    settings = replace(
        describe_replica(plan),
        owner=str(run.path),
        abandoned_seconds=recipe.serving.abandoned_seconds,
    )
    with (
        ray_session(recipe.ray),
        evaluation_replicas(
            settings, config=recipe.serving, name=run.name, replica=replica
        ) as solve,
    ):
        failed = asyncio.run(_solve_all(plan, session, solve=solve))
    if failed:
        raise RuntimeError(
            f"{len(failed)} samples could not be generated, the first: {failed[0].error} What "
            "was done is kept; run the same command again to do the rest."
        )


def describe_replica(plan: EvaluationPlan) -> ReplicaSettings:
    """Return what the replicas of an evaluation are built from."""
    return ReplicaSettings(
        model_path=str(plan.model.path),
        adapter_path=str(plan.model.adapter) if plan.model.adapter else None,
        delimiters=plan.recipe.model.delimiters,
        system_prompt=plan.recipe.model.system_prompt,
        context_tokens=plan.recipe.model.context_tokens,
        engine=plan.recipe.engine,
        sampling=plan.recipe.sampling,
        policies={policy.name: policy for policy in plan.policies},
    )


async def _solve_all(
    plan: EvaluationPlan, session: GradingSession, *, solve: Solve
) -> list[FailedSample]:
    """Stream every missing sample to the store, the event log and the terminal."""
    failed: list[FailedSample] = []
    total = count_samples(plan.groups)
    with show_progress(f"evaluate {plan.label}", total=total) as bar:
        if len(session.store):
            say(f"resuming {plan.run.name}: {len(session.store)} of {total} samples are there")
        progress = restore_progress(plan.run, session, groups=plan.groups)
        async for outcome in evaluate(
            plan.groups,
            solve=solve,
            grade=session.grade,
            store=session.store,
            aside=session.aside,
            runtime=plan.recipe.evaluation.runtime,
            max_in_flight=plan.recipe.count_in_flight(),
        ):
            if isinstance(outcome, FailedSample):
                failed.append(outcome)
            else:
                note = progress.record(outcome)
                bar.advance_to(progress.num_done, note)
    return failed
