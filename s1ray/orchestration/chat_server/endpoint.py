"""``jobs.serve``: the chat endpoint on Ray Serve, until somebody interrupts it.

A replica is a plain ``ChatServer`` behind a plain ASGI app; what one request asks for happens
inside one replica, next to its cache. Serve carries the requests, scales and restarts.
"""

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import serve
from starlette.applications import Starlette

from s1ray.chat_format import DELIMITERS, read_thinking_tokens
from s1ray.config.recipe import Recipe
from s1ray.generation.build import Engines, build_engines
from s1ray.model_source.model_directory import load_tokenizer
from s1ray.orchestration.answering.serve import CONSTRUCTOR_RETRIES, refuse_blind_nodes
from s1ray.orchestration.chat_server.plan import ServerPlan, read_key
from s1ray.orchestration.cluster.room import Need, await_room
from s1ray.orchestration.cluster.session import LOCAL, choose_address, ray_session
from s1ray.orchestration.stage import hold_run
from s1ray.orchestration.terminal import say
from s1ray.serving.app import build_app
from s1ray.serving.chat_job import ChatModel
from s1ray.serving.chat_server import ChatServer

APPLICATION = "chat"
_SHORT_WAY = {
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
}
"""Serve hands every request from one event loop to another, in case the code of a replica blocks
its own, and to replicas through an actor's queue. Ours computes in a thread of its own, and a
replica listens for gRPC anyway; the long way costs a request two milliseconds."""
_QUIET = {"log_level": "ERROR", "enable_access_log": False}


def run_server(plan: ServerPlan) -> Path:
    """Serve until SIGTERM or Ctrl-C, then let requests under way end, and return the run's place.

    Raises:
        RefusedError: Another server of this name is up, or a Ray of our own is too small.
        RuntimeError: The replicas did not come up, or Serve is in use on this Ray already.
    """
    recipe, config = plan.recipe, plan.recipe.server
    with (
        hold_run(plan.run, recipe, on_lost=_serve_on),
        ray_session(recipe.ray, environment=_SHORT_WAY),
        chat_endpoint(plan),
    ):
        names = ", ".join((config.model_name, *plan.adapters))
        say(f"serving {names} at http://{config.host}:{config.port}/v1; Ctrl-C stops")
        _wait_for_signal()
        say("stopping; requests under way may end")
    return plan.run.path


def _serve_on() -> None:
    """Keep clients: what the run directory says of this server was written when it began."""


def _wait_for_signal() -> None:
    """Wait until SIGTERM or Ctrl-C; what comes after may take its time, and a second one kills.

    Enter it after Ray has been initialised: Ray installs handlers of its own.
    """
    asked = threading.Event()
    previous = {
        number: signal.signal(number, lambda *_: asked.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    asked.wait()
    for number, handler in previous.items():
        signal.signal(number, handler)


@contextmanager
def chat_endpoint(plan: ServerPlan) -> Iterator[None]:
    """Run the endpoint while the block runs.

    Raises:
        RefusedError: A Ray of our own is too small for the replicas, or a node cannot read a model.
        RuntimeError: Something else is served on this Ray already.
    """
    config = plan.recipe.server
    if serve.status().applications:
        raise RuntimeError(
            "Ray Serve runs applications on this Ray already, and where it listens is settled. "
            "Point ray.address at another cluster, or end them with `serve shutdown`."
        )
    await_room(_describe_need(plan.recipe))
    model_path = str(plan.model.path)
    refuse_blind_nodes([model_path, *plan.adapters.values()], config=plan.recipe.serving)
    serve.shutdown()  # type: ignore[no-untyped-call]
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": config.host, "port": config.port},
        logging_config=_QUIET,
    )
    say(f"loading the model into {config.min_replicas} replica(s)")
    settings = ChatReplicaSettings(
        recipe=plan.recipe, model_path=model_path, adapters=plan.adapters
    )
    deploy = serve.deployment(**_describe_deployment(plan.recipe))
    try:
        serve.run(deploy(ChatReplica).bind(settings), name=APPLICATION, route_prefix="/")
        yield
    finally:
        serve.delete(APPLICATION)
        if choose_address(plan.recipe.ray) != LOCAL:
            # A Ray of our own ends anyway, without words about killed actors.
            serve.shutdown()  # type: ignore[no-untyped-call]


def _describe_need(recipe: Recipe) -> Need:
    return Need(
        name="chat replicas",
        count=recipe.server.min_replicas,
        each={"CPU": recipe.serving.num_cpus, "GPU": recipe.serving.num_gpus},
        remedy="lower server.min_replicas, serving.num_cpus or serving.num_gpus",
    )


def _describe_deployment(recipe: Recipe) -> dict[str, Any]:
    config, serving = recipe.server, recipe.serving
    return {
        "name": APPLICATION,
        "ray_actor_options": {"num_cpus": serving.num_cpus, "num_gpus": serving.num_gpus},
        "max_ongoing_requests": config.max_requests + config.spare_requests,
        "max_queued_requests": config.max_queued_requests,
        "backpressure_config": {"status_code": 429, "retry_after_s": config.retry_after_seconds},
        "autoscaling_config": {
            "min_replicas": config.min_replicas,
            "initial_replicas": config.min_replicas,
            "max_replicas": config.max_replicas,
            "target_ongoing_requests": config.target_requests,
            "upscale_delay_s": config.upscale_delay_seconds,
            "downscale_delay_s": config.downscale_delay_seconds,
        },
        "health_check_period_s": config.health_check_seconds,
        "graceful_shutdown_timeout_s": config.graceful_shutdown_seconds,
        "max_constructor_retry_count": CONSTRUCTOR_RETRIES,
        "logging_config": _QUIET,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReplicaSettings:
    """Everything a replica is built from; travels to its process, without the key."""

    recipe: Recipe
    model_path: str
    adapters: Mapping[str, str]

    def load(self) -> tuple[ChatModel, Engines]:
        """Load the model and its adapters."""
        path, model = Path(self.model_path), self.recipe.model
        tokenizer = load_tokenizer(path)
        engines = build_engines(
            self.recipe.engine,
            model_path=path,
            context_tokens=model.context_tokens,
            adapters={name: Path(adapter) for name, adapter in self.adapters.items()},
        )
        chat_model = ChatModel(
            engines={self.recipe.server.model_name: engines.base, **engines.adapted},
            tokenizer=tokenizer,
            tokens=read_thinking_tokens(tokenizer, DELIMITERS[model.delimiters]),
            system_prompt=model.system_prompt,
            sampling=self.recipe.sampling,
            config=self.recipe.server,
        )
        return chat_model, engines


@serve.ingress()
class ChatReplica:
    """The deployment: a chat server in a process of its own."""

    def __init__(self, settings: ChatReplicaSettings) -> None:
        self._config = settings.recipe.server
        self._key = read_key(self._config)
        model, self._engines = settings.load()
        self._server = ChatServer(model)

    def __serve_build_asgi_app__(self) -> Starlette:
        """Return what Serve hands requests to."""
        return build_app(
            self._server,
            key=self._key,
            body_bytes=self._config.limits.body_bytes,
            collect=self._collect,
        )

    def check_health(self) -> None:
        """Let Serve replace a replica whose engine does not answer.

        Raises:
            RuntimeError: It failed too often in a row.
        """
        if not self._server.is_healthy:
            raise RuntimeError("the engine fails at every request")

    async def count(self) -> Mapping[str, float]:
        """Return this replica's counts."""
        work = {f"engine_{name}_total": n for name, n in self._engines.counters().items()}
        return {**self._server.count(), **work, "replicas": 1}

    async def _collect(self) -> Sequence[Mapping[str, float]]:
        handle = serve.get_deployment_handle(APPLICATION, app_name=APPLICATION)
        counts: Sequence[Mapping[str, float]] = await handle.broadcast("count").results_async()
        return counts
