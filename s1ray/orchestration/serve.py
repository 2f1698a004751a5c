"""Evaluation replicas on Ray Serve, reached by handle alone: no HTTP port, nothing to secure.

A replica is a plain ``Solver`` around an engine; everything about thinking and budgets happens
inside it, next to its cache.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ray import serve
from ray.serve.handle import DeploymentResponseGenerator

from s1ray.chat_format import DELIMITERS, read_thinking_tokens
from s1ray.config.generation import EngineConfig, SamplingConfig
from s1ray.config.serving import ServingConfig
from s1ray.evaluation.evaluate import Solve
from s1ray.evaluation.samples import SampleGroup
from s1ray.evaluation.solver import Solver
from s1ray.generation.budget import BudgetPolicy
from s1ray.generation.build import build_engine
from s1ray.model_source.model_directory import load_tokenizer
from s1ray.orchestration.terminal import say
from s1ray.records import Completion

_CONSTRUCTOR_RETRIES = 2  # a model that does not load will not load the twentieth time either


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSettings:
    """Everything a replica is built from; travels to its process."""

    model_path: str
    delimiters: str
    system_prompt: str | None
    context_tokens: int
    engine: EngineConfig
    sampling: SamplingConfig
    policies: Mapping[str, BudgetPolicy]


def build_solver(settings: ReplicaSettings) -> Solver:
    """Load the model and return what solves groups with it."""
    tokenizer = load_tokenizer(Path(settings.model_path))
    return Solver(
        engine=build_engine(
            settings.engine,
            model_path=Path(settings.model_path),
            context_tokens=settings.context_tokens,
        ),
        tokenizer=tokenizer,
        tokens=read_thinking_tokens(tokenizer, DELIMITERS[settings.delimiters]),
        system_prompt=settings.system_prompt,
        policies=settings.policies,
        sampling=settings.sampling,
    )


class Replica:
    """The deployment: a solver in a process of its own."""

    def __init__(self, settings: ReplicaSettings) -> None:
        self._solver = build_solver(settings)

    async def solve(self, group: SampleGroup) -> AsyncIterator[tuple[str, Completion]]:
        """Stream a group's completions."""
        async for answer in self._solver.solve(group):
            yield answer

    async def count(self) -> Mapping[str, int]:
        """Return the engine's counters."""
        return self._solver.engine.counters()


@contextmanager
def evaluation_replicas(
    settings: ReplicaSettings, *, config: ServingConfig, name: str
) -> Iterator[Solve]:
    """Run replicas of one model while the block runs; yield what solves a group on any of them.

    Args:
        settings: Of every replica.
        config: How many, and what each holds.
        name: Of the Serve application; the run's, so that two runs do not meet.

    Raises:
        RuntimeError: The replicas did not come up.
    """
    say(f"loading the model into {config.num_replicas} evaluation replica(s)")
    quiet = {"log_level": "ERROR", "enable_access_log": False}
    serve.start(proxy_location="Disabled", logging_config=quiet)
    deploy = serve.deployment(
        name="replica",
        num_replicas=config.num_replicas,
        ray_actor_options={"num_cpus": config.num_cpus, "num_gpus": config.num_gpus},
        max_ongoing_requests=config.groups_per_replica,
        health_check_period_s=config.health_check_seconds,
        max_constructor_retry_count=_CONSTRUCTOR_RETRIES,
        logging_config=quiet,
    )
    handle = serve.run(deploy(Replica).bind(settings), name=name, route_prefix=None)
    streaming = handle.options(stream=True)

    async def solve(group: SampleGroup) -> AsyncIterator[tuple[str, Completion]]:
        stream = cast(
            DeploymentResponseGenerator[tuple[str, Completion]], streaming.solve.remote(group)
        )
        try:
            async for answer in stream:
                yield answer
        finally:
            stream.cancel()  # type: ignore[no-untyped-call]

    try:
        yield solve
    finally:
        serve.delete(name)
