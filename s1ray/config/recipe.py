"""The whole recipe: one schema for every job from curate to sweep, and for plan and serve."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from s1ray.config.base import Section
from s1ray.config.checkpoint import CheckpointConfig
from s1ray.config.curation import (
    DecontaminationConfig,
    DifficultyConfig,
    DiversityConfig,
    QualityConfig,
    ScreeningConfig,
    SelectionConfig,
)
from s1ray.config.distillation import DistillationConfig
from s1ray.config.evaluation import ComparatorsConfig, EvaluationConfig
from s1ray.config.generation import (
    BudgetConfig,
    EndpointConfig,
    EngineConfig,
    SamplingConfig,
    VllmEngineConfig,
)
from s1ray.config.grading import BenchmarkConfig, GradingConfig
from s1ray.config.model import ModelConfig
from s1ray.config.planning import ClusterConfig, PlanningConfig
from s1ray.config.pool import PoolConfig
from s1ray.config.report import ReportConfig
from s1ray.config.search import SchedulerConfig, SearchConfig
from s1ray.config.server import ServerConfig
from s1ray.config.serving import ServingConfig
from s1ray.config.tracking import LeaseConfig, PathsConfig, RayConfig, TrackingConfig
from s1ray.config.training import AttentionBackend, ShardingConfig, TrainingConfig
from s1ray.config.verification import VerificationConfig


class Recipe(Section):
    """Everything the stages need to know."""

    name: Annotated[str, Field(min_length=1)]
    """Of the experiment: the readable half of every run's name, and the tracking group."""
    traces: str | None
    """JSON lines of reasoning traces to train on; None to curate them."""
    questions: str | None
    """JSON lines whose questions ``jobs.distill`` asks a teacher; None to curate them."""
    target: str
    """What ``jobs.evaluate`` evaluates. ``base``: the recipe's model; ``trained``: what its
    training run exported; else the path of a model directory."""
    model: ModelConfig
    pool: PoolConfig
    screening: ScreeningConfig
    """How the steps that compare questions with others are carried out."""
    decontamination: DecontaminationConfig
    quality: QualityConfig
    difficulty: DifficultyConfig
    diversity: DiversityConfig
    selection: SelectionConfig
    endpoint: EndpointConfig
    """The teacher that ``jobs.distill`` asks."""
    teacher_budget: BudgetConfig
    """What a teacher is asked for, one policy; what it cannot be asked for is left to it."""
    distillation: DistillationConfig
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
    server: ServerConfig
    """The chat endpoint of ``jobs.serve``."""
    evaluation: EvaluationConfig
    cluster: ClusterConfig
    """The hardware that ``jobs.plan`` plans for."""
    planning: PlanningConfig
    verification: VerificationConfig
    """What ``jobs.verify_resume`` holds a resumed run to."""
    report: ReportConfig
    comparators: ComparatorsConfig
    search: SearchConfig
    """What ``jobs.sweep`` varies."""
    scheduler: SchedulerConfig
    """How a sweep's trials are run."""
    tracking: TrackingConfig
    paths: PathsConfig
    ray: RayConfig
    lease: LeaseConfig

    def count_in_flight(self) -> int:
        """Return how many samples are solved, or stored answers graded, at once."""
        return self.evaluation.runtime.max_in_flight or self.serving.count_groups()

    @model_validator(mode="after")
    def _check_replicas(self) -> Self:
        engine, serving = self.engine, self.serving
        if isinstance(engine, VllmEngineConfig) and serving.num_gpus not in (
            0,
            engine.tensor_parallel_size,
        ):
            raise ValueError(
                f"engine.tensor_parallel_size={engine.tensor_parallel_size} needs as many GPUs in "
                f"each replica, and serving.num_gpus={serving.num_gpus:g}. Choose engine= and "
                "serving= that belong together, such as vllm_2 and h100_16_by_2."
            )
        return self

    @model_validator(mode="after")
    def _check_attention(self) -> Self:
        is_half = self.training.compute_dtype == "bfloat16"
        if self.sharding.attention is AttentionBackend.VARLEN and not is_half:
            raise ValueError(
                f"sharding.attention=varlen needs training.compute_dtype=bfloat16, got "
                f"{self.training.compute_dtype}: flash attention computes in half precision alone. "
                "Set training.compute_dtype=bfloat16, or sharding.attention=per_document."
            )
        return self
