"""Evaluations of the tiny recipe: their plan, and what they leave in their files."""

from collections.abc import Callable
from pathlib import Path

from s1ray.config.recipe import Recipe
from s1ray.evaluation.samples import SampleTask
from s1ray.evaluation.store import read_samples
from s1ray.orchestration.answering.evaluate import prepare_evaluate
from s1ray.orchestration.answering.evaluation import EvaluationPlan
from s1ray.orchestration.run_directory.events import read_events
from s1ray.records import Completion

Tiny = Callable[..., Recipe]
NUM_POLICIES = 3


def plan_tiny(recipe: Recipe) -> EvaluationPlan:
    plan = prepare_evaluate(recipe).evaluation
    assert plan is not None
    return plan


def read_completions(path: Path) -> dict[SampleTask, Completion]:
    return {sample.task: sample.completion for sample in read_samples(path / "samples.jsonl")}


def assert_every_sample_once(plan: EvaluationPlan) -> None:
    """The store itself refuses a file in which a sample stands twice."""
    asked = {group.task(policy) for group in plan.groups for policy in group.policies}
    assert set(read_completions(plan.run.path)) == asked
    steps = [row["global_step"] for row in read_events(plan.run.path)]
    assert steps == list(range(1, len(asked) + 1))
