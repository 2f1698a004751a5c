"""Evaluate a model on Serve replicas: each graded answer is on disk before anybody hears of it."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from s1ray.config.generation import BudgetConfig
from s1ray.config.recipe import Recipe
from s1ray.evaluation.evaluate import Solve, evaluate
from s1ray.evaluation.metrics import RunningAccuracy
from s1ray.evaluation.samples import EvaluatedSample, FailedSample, SampleGroup, plan_groups
from s1ray.evaluation.store import SampleStore, read_samples
from s1ray.generation.budget import BudgetPolicy, expand_policies
from s1ray.grading.pool import GraderPool
from s1ray.orchestration.events import EventLog
from s1ray.orchestration.models import PreparedModel
from s1ray.orchestration.questions import QuestionSet
from s1ray.orchestration.runs import Run
from s1ray.orchestration.serve import ReplicaSettings, evaluation_replicas
from s1ray.orchestration.session import ray_session
from s1ray.orchestration.stage import name_stage, open_stage
from s1ray.orchestration.terminal import say, show_progress
from s1ray.orchestration.tracking import SAMPLES
from s1ray.records import Completion, GradedAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """One evaluation, checked and named; nothing has been started."""

    recipe: Recipe
    run: Run
    model: PreparedModel
    label: str
    """What the model is called in results: base, trained, or its path's name."""
    policies: tuple[BudgetPolicy, ...]
    groups: tuple[SampleGroup, ...]


def plan_evaluation(
    recipe: Recipe,
    *,
    model: PreparedModel,
    label: str,
    questions: QuestionSet,
    budget: BudgetConfig,
) -> EvaluationPlan:
    """Check and name an evaluation.

    Raises:
        ValueError: There is nothing to do, or a part of the configuration does not fit another.
    """
    policies = expand_policies(budget)
    groups = plan_groups(
        questions.questions,
        private=questions.private,
        policies=[policy.name for policy in policies],
        model=model.fingerprint.weights[:16],
        num_samples=recipe.evaluation.num_samples,
        seed=recipe.evaluation.seed,
    )
    engine = recipe.engine
    identity = {
        "model": model.describe(),
        "label": label,
        "questions": questions.digest(),
        "budget": budget.model_dump(mode="json"),
        "sampling": recipe.sampling.model_dump(mode="json"),
        "engine": {"kind": engine.kind, "dtype": engine.dtype},
        "format": {
            "delimiters": recipe.model.delimiters,
            "system_prompt": recipe.model.system_prompt,
            "context_tokens": recipe.model.context_tokens,
        },
        "num_samples": recipe.evaluation.num_samples,
        "seed": recipe.evaluation.seed,
        "grading": recipe.grading.model_dump(mode="json", exclude={"pool"}),
    }
    run = name_stage(recipe, stage="evaluate", slug=f"{recipe.name}-{label}", identity=identity)
    return EvaluationPlan(
        recipe=recipe, run=run, model=model, label=label, policies=policies, groups=groups
    )


def run_evaluation(plan: EvaluationPlan) -> Path:
    """Do what is missing of an evaluation and return its directory.

    Raises:
        RuntimeError: Samples failed for good; what succeeded is kept and a rerun does the rest.
    """
    run, recipe = plan.run, plan.recipe
    if run.is_finished:
        say(f"evaluate: {run.name} is finished already")
        return run.path
    with (
        open_stage(run, recipe) as stage,
        ray_session(recipe.ray),
        evaluation_replicas(_describe_replica(plan), config=recipe.serving, name=run.name) as solve,
    ):
        failed = asyncio.run(_solve_all(plan, solve=solve))
        if failed:
            raise RuntimeError(
                f"{len(failed)} samples could not be generated, the first: {failed[0].error} What "
                "was done is kept; run the same command again to do the rest."
            )
        stage.files.append(SAMPLES)
        stage.summary["label"] = plan.label
    return run.path


def _describe_replica(plan: EvaluationPlan) -> ReplicaSettings:
    return ReplicaSettings(
        model_path=str(plan.model.path),
        delimiters=plan.recipe.model.delimiters,
        system_prompt=plan.recipe.model.system_prompt,
        context_tokens=plan.recipe.model.context_tokens,
        engine=plan.recipe.engine,
        sampling=plan.recipe.sampling,
        policies={policy.name: policy for policy in plan.policies},
    )


async def _solve_all(plan: EvaluationPlan, *, solve: Solve) -> list[FailedSample]:
    """Stream every missing sample to the store, the event log and the terminal."""
    runtime, grading = plan.recipe.evaluation.runtime, plan.recipe.grading
    failed: list[FailedSample] = []
    total = sum(len(group.policies) for group in plan.groups)
    with (
        SampleStore(
            plan.run.path / SAMPLES,
            sync_rows=runtime.sync_rows,
            sync_seconds=runtime.sync_seconds,
            clock=time.monotonic,
        ) as store,
        GraderPool(grading) as pool,
        EventLog(plan.run.path) as events,
        show_progress(f"evaluate {plan.label}", total=total) as bar,
    ):
        if len(store):
            say(f"resuming {plan.run.name}: {len(store)} of {total} samples are there")
        progress = _Progress(events)
        for sample in read_samples(plan.run.path / SAMPLES) if len(store) else ():
            progress.count(sample)

        async def grade(group: SampleGroup, completion: Completion) -> GradedAnswer:
            question = group.question
            return await pool.grade(
                completion.answer, gold=question.answer, kind=question.answer_kind
            )

        async for outcome in evaluate(
            plan.groups,
            solve=solve,
            grade=grade,
            store=store,
            max_in_flight=runtime.max_in_flight,
            max_attempts=runtime.max_attempts,
            retry_seconds=runtime.retry_seconds,
            max_consecutive_failures=runtime.max_consecutive_failures,
        ):
            if isinstance(outcome, FailedSample):
                failed.append(outcome)
            else:
                bar.advance_to(len(store), progress.record(outcome, num_done=len(store)))
    return failed


class _Progress:
    """Running accuracies while samples come in."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._accuracies: dict[tuple[str, str], RunningAccuracy] = {}
        self._began = time.monotonic()
        self._num_tokens = 0

    def count(self, sample: EvaluatedSample) -> RunningAccuracy:
        """Take a sample into the running accuracy of its benchmark and policy."""
        key = (sample.task.benchmark, sample.task.policy)
        accuracy = self._accuracies.setdefault(key, RunningAccuracy())
        accuracy.add(sample.task, sample.graded.verdict)
        return accuracy

    def record(self, sample: EvaluatedSample, *, num_done: int) -> str:
        """Count a new sample, write the event, and return the note for the terminal."""
        estimate = self.count(sample).estimate()
        self._num_tokens += sample.completion.num_generated_tokens
        speed = self._num_tokens / (time.monotonic() - self._began)
        name = f"eval/{sample.task.benchmark}/{sample.task.policy}"
        metrics: dict[str, float | str | None] = {"eval/tokens_per_second": speed}
        if estimate is not None:
            metrics |= {f"{name}/accuracy": estimate.value, f"{name}/stderr": estimate.stderr}
        self._events.append(num_done, metrics)
        shown = f"{estimate.value:.0%}" if estimate else "unscored"
        return f"{sample.task.policy} {shown}, {speed:.0f} tokens/s"
