"""The whole recipe: one schema that curate, train, evaluate, reproduce and sweep share."""

from typing import Annotated

from pydantic import Field

from s1ray.config.base import Section
from s1ray.config.checkpoint import CheckpointConfig
from s1ray.config.curation import (
    DecontaminationConfig,
    DifficultyConfig,
    DiversityConfig,
    QualityConfig,
    SelectionConfig,
)
from s1ray.config.evaluation import ComparatorsConfig, EvaluationConfig
from s1ray.config.generation import BudgetConfig, EngineConfig, SamplingConfig
from s1ray.config.grading import BenchmarkConfig, GradingConfig
from s1ray.config.model import ModelConfig
from s1ray.config.planning import ClusterConfig, PlanningConfig
from s1ray.config.pool import PoolConfig
from s1ray.config.report import ReportConfig
from s1ray.config.serving import ServingConfig
from s1ray.config.tracking import LeaseConfig, PathsConfig, RayConfig, TrackingConfig
from s1ray.config.training import ShardingConfig, TrainingConfig


class Recipe(Section):
    """Everything the stages need to know."""

    name: Annotated[str, Field(min_length=1)]
    """Of the experiment: the readable half of every run's name, and the tracking group."""
    traces: str | None
    """JSON lines of reasoning traces to train on; None to curate them."""
    target: str
    """What ``jobs.evaluate`` evaluates. ``base``: the recipe's model; ``trained``: what its
    training run exported; else the path of a model directory."""
    model: ModelConfig
    pool: PoolConfig
    decontamination: DecontaminationConfig
    quality: QualityConfig
    difficulty: DifficultyConfig
    difficulty_budget: BudgetConfig
    """Under which the models that judge difficulty answer."""
    diversity: DiversityConfig
    selection: SelectionConfig
    training: TrainingConfig
    sharding: ShardingConfig
    checkpoint: CheckpointConfig
    benchmark: Annotated[dict[str, BenchmarkConfig], Field(min_length=1)]
    grading: GradingConfig
    budget: BudgetConfig
    base_budget: BudgetConfig
    """Under which the base model is evaluated for comparison."""
    sampling: SamplingConfig
    engine: EngineConfig
    serving: ServingConfig
    evaluation: EvaluationConfig
    cluster: ClusterConfig
    """The hardware that ``jobs.plan`` plans for."""
    planning: PlanningConfig
    report: ReportConfig
    comparators: ComparatorsConfig
    tracking: TrackingConfig
    paths: PathsConfig
    ray: RayConfig
    lease: LeaseConfig
