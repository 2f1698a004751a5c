"""Evaluation replicas on Ray Serve, reached by handle alone: no HTTP port, nothing to secure.

A replica is a plain ``Solver`` around an engine; everything about thinking and budgets happens
inside it, next to its cache.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ray import serve
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator

from s1ray.chat_format import DELIMITERS, read_thinking_tokens
from s1ray.config.generation import EngineConfig, SamplingConfig
from s1ray.config.serving import ServingConfig
from s1ray.evaluation.evaluate import Solve
from s1ray.evaluation.samples import SampleGroup
from s1ray.evaluation.solver import Solver
from s1ray.generation.budget import BudgetPolicy
from s1ray.generation.build import build_engine
from s1ray.model_source.model_directory import load_tokenizer
from s1ray.orchestration.cluster.room import Need, await_room
from s1ray.orchestration.cluster.storage import refuse_unreadable
from s1ray.orchestration.run_directory.lease import LEASE, is_abandoned
from s1ray.orchestration.terminal import say
from s1ray.records import Completion

_QUIET = {"log_level": "ERROR", "enable_access_log": False}
CONSTRUCTOR_RETRIES = 2
"""No setting: a model that does not load will not load the twentieth time (Serve's own) either."""

_SHARE_MODEL = (
    "put it on storage that every node mounts: HF_HOME or paths.cache for what was fetched, "
    "paths.storage for what a run trained, or name a shared directory (model.source, target)"
)
_SHARE_LEASE = (
    "set paths.storage to storage that every node mounts: by the lease there a replica knows that "
    "the job it works for is alive"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSettings:
    """Everything a replica is built from; travels to its process."""

    model_path: str
    adapter_path: str | None
    """A PEFT adapter beside it; None for none."""
    delimiters: str
    system_prompt: str | None
    context_tokens: int
    engine: EngineConfig
    sampling: SamplingConfig
    policies: Mapping[str, BudgetPolicy]
    owner: str | None = None
    """The run directory whose holder began the replica, in an application of its name; None where
    nobody's death ends it."""
    abandoned_seconds: float = math.inf
    """As ``ServingConfig`` has it."""


def build_solver(settings: ReplicaSettings) -> Solver:
    """Load the model and return what solves groups with it."""
    tokenizer = load_tokenizer(Path(settings.model_path))
    return Solver(
        engine=build_engine(
            settings.engine,
            model_path=Path(settings.model_path),
            context_tokens=settings.context_tokens,
            adapter=Path(settings.adapter_path) if settings.adapter_path else None,
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
        self._settings = settings
        self._solver = build_solver(settings)

    async def check_health(self) -> None:
        """Take the application away where the job that began it was killed; Serve asks often."""
        owner = self._settings.owner
        if owner is not None and is_orphaned(
            Path(owner), abandoned_seconds=self._settings.abandoned_seconds
        ):
            await asyncio.to_thread(serve.delete, Path(owner).name, _blocking=False)

    async def solve(self, group: SampleGroup) -> AsyncIterator[tuple[str, Completion]]:
        """Stream a group's completions."""
        async for answer in self._solver.solve(group):
            yield answer

    async def count(self) -> Mapping[str, int]:
        """Return the engine's counters."""
        return self._solver.engine.counters()


def is_orphaned(owner: Path, *, abandoned_seconds: float) -> bool:
    """Whether the job that a run directory belongs to is gone, as far as this node can see.

    A directory that is not here tells nothing: a node that joined later may not have it mounted.

    Args:
        owner: The run directory.
        abandoned_seconds: As ``ServingConfig`` has it.
    """
    try:
        return owner.is_dir() and is_abandoned(owner, stale_seconds=abandoned_seconds)
    except OSError:  # a disk that fails for a moment kills nobody
        return False


def start_serve() -> None:
    """Start Serve's controller, without any proxy, where it is not running yet."""
    serve.start(proxy_location="Disabled", logging_config=_QUIET)


@contextmanager
def evaluation_replicas(
    settings: ReplicaSettings,
    *,
    config: ServingConfig,
    name: str,
    replica: type[Replica] = Replica,
) -> Iterator[Solve]:
    """Run replicas of one model while the block runs; yield what solves a group on any of them.

    Args:
        settings: Of every replica.
        config: How many, and what each holds.
        name: Of the Serve application; the run's, so that two runs do not meet.
        replica: What the deployment holds.

    Raises:
        RefusedError: A Ray of our own is too small for them, or a node cannot read the model or
            the owner's lease.
        RuntimeError: The replicas did not come up.
    """
    await_room(describe_need(config))
    refuse_blind_nodes([settings.model_path, settings.adapter_path], config=config)
    if settings.owner is not None:
        lease = Path(settings.owner) / LEASE
        refuse_unreadable(lease, resource=_name_resource(config), remedy=_SHARE_LEASE)
    say(f"loading the model into {config.num_replicas} evaluation replica(s)")
    start_serve()
    deploy = serve.deployment(
        name="replica",
        num_replicas=config.num_replicas,
        ray_actor_options={"num_cpus": config.num_cpus, "num_gpus": config.num_gpus},
        max_ongoing_requests=config.groups_per_replica,
        health_check_period_s=config.health_check_seconds,
        max_constructor_retry_count=CONSTRUCTOR_RETRIES,
        logging_config=_QUIET,
    )
    # Inside: replicas that did not all come up, or were not waited for, hold processors too.
    try:
        yield _solve_on(serve.run(deploy(replica).bind(settings), name=name, route_prefix=None))
    finally:
        serve.delete(name)


def refuse_blind_nodes(paths: Iterable[str | None], *, config: ServingConfig) -> None:
    """Ask every node that may get a replica for its models, before there is any.

    Once one replica is up, Serve starts another that fails over and over, and tells nobody.

    Args:
        paths: Directories of a model and its adapters; None for one that is not there.
        config: What a replica holds.

    Raises:
        RefusedError: A node cannot read one of them.
    """
    for path in paths:
        if path is not None:
            refuse_unreadable(Path(path), resource=_name_resource(config), remedy=_SHARE_MODEL)


def _name_resource(config: ServingConfig) -> str:
    """Return what nodes that may get a replica offer."""
    return "GPU" if config.num_gpus else "CPU"


def describe_need(config: ServingConfig) -> Need:
    """Return what all replicas hold together."""
    return Need(
        name="evaluation replicas",
        count=config.num_replicas,
        each={"CPU": config.num_cpus, "GPU": config.num_gpus},
        remedy="lower serving.num_replicas, serving.num_cpus or serving.num_gpus",
    )


def _solve_on(handle: DeploymentHandle[Replica]) -> Solve:
    """Return what solves a group on any replica, and stops there where nobody listens any more."""
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

    return solve
