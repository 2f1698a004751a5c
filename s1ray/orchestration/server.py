"""``jobs.serve``: the chat endpoint on Ray Serve, until somebody interrupts it.

A replica is a plain ``ChatServer`` behind a plain ASGI app; what one request asks for happens
inside one replica, next to its cache. Serve carries the requests, scales and restarts.
"""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import serve
from starlette.applications import Starlette

from s1ray.chat_format import DELIMITERS, read_thinking_tokens
from s1ray.config.recipe import Recipe
from s1ray.config.server import ServerConfig
from s1ray.generation.build import Engines, build_engines
from s1ray.model_source.model_directory import load_tokenizer
from s1ray.orchestration.cluster.room import Need, await_room
from s1ray.orchestration.cluster.session import LOCAL, choose_address, ray_session
from s1ray.orchestration.fine_tune.stopping import wait_for_signal
from s1ray.orchestration.fine_tune.train import prepare_train
from s1ray.orchestration.models import PreparedModel, prepare_model, read_model
from s1ray.orchestration.run_directory.runs import Run, begin_run, dump_config
from s1ray.orchestration.stage import name_stage
from s1ray.orchestration.terminal import say
from s1ray.serving.app import build_app
from s1ray.serving.chat_job import ChatModel
from s1ray.serving.chat_server import ChatServer
from s1ray.training.fine_tune import EXPORT

APPLICATION = "chat"
_CONSTRUCTOR_RETRIES = 2
"""No setting: a model that does not load will not load the twentieth time (Serve's own) either."""
_SHORT_WAY = {
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
}
"""Serve hands every request from one event loop to another, in case the code of a replica blocks
its own, and to replicas through an actor's queue. Ours computes in a thread of its own, and a
replica listens for gRPC anyway; the long way costs a request two milliseconds."""
_QUIET = {"log_level": "ERROR", "enable_access_log": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlan:
    """A server, checked and named; nothing has been started."""

    recipe: Recipe
    run: Run
    model: PreparedModel
    adapters: Mapping[str, str]


def prepare_server(recipe: Recipe) -> ServerPlan:
    """Check and name a server.

    Raises:
        ValueError: The model, an adapter, the key or the port cannot be had.
    """
    config = recipe.server
    model = _find_model(recipe)
    adapters = {name: str(_find_adapter(name, path)) for name, path in config.adapters.items()}
    tokenizer = load_tokenizer(model.path)
    read_thinking_tokens(tokenizer, DELIMITERS[recipe.model.delimiters])
    if config.budget.max_answer_tokens >= recipe.model.context_tokens:
        raise ValueError(
            f"server.budget.max_answer_tokens={config.budget.max_answer_tokens} leaves no room in "
            f"model.context_tokens={recipe.model.context_tokens}. Lower the one or raise the other."
        )
    _read_key(config)
    _check_port(config)
    identity = {
        "model": model.describe(),
        "adapters": adapters,
        "address": f"{config.host}:{config.port}",
    }
    run = name_stage(recipe, stage="serve", slug=recipe.name, identity=identity)
    return ServerPlan(recipe=recipe, run=run, model=model, adapters=adapters)


def run_server(plan: ServerPlan) -> Path:
    """Serve until SIGTERM or Ctrl-C, then let requests under way end, and return the run's place.

    Raises:
        RuntimeError: The replicas did not come up, or Serve is in use on this Ray already.
    """
    recipe, config = plan.recipe, plan.recipe.server
    begin_run(plan.run, config_yaml=dump_config(recipe))
    with ray_session(recipe.ray, environment=_SHORT_WAY), chat_endpoint(plan):
        names = ", ".join((config.model_name, *plan.adapters))
        say(f"serving {names} at http://{config.host}:{config.port}/v1; Ctrl-C stops")
        wait_for_signal()
        say("stopping; requests under way may end")
    return plan.run.path


@contextmanager
def chat_endpoint(plan: ServerPlan) -> Iterator[None]:
    """Run the endpoint while the block runs.

    Raises:
        RefusedError: A Ray of our own is too small for the replicas.
        RuntimeError: Something else is served on this Ray already.
    """
    config = plan.recipe.server
    if serve.status().applications:
        raise RuntimeError(
            "Ray Serve runs applications on this Ray already, and where it listens is settled. "
            "Point ray.address at another cluster, or end them with `serve shutdown`."
        )
    await_room(_describe_need(plan.recipe))
    serve.shutdown()  # type: ignore[no-untyped-call]
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": config.host, "port": config.port},
        logging_config=_QUIET,
    )
    say(f"loading the model into {config.min_replicas} replica(s)")
    settings = ChatReplicaSettings(
        recipe=plan.recipe, model_path=str(plan.model.path), adapters=plan.adapters
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
        "max_constructor_retry_count": _CONSTRUCTOR_RETRIES,
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
        self._key = _read_key(self._config)
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


def _find_model(recipe: Recipe) -> PreparedModel:
    """Return the model that ``target`` names; nothing is trained for it.

    Raises:
        ValueError: It is not there.
    """
    if recipe.target == "base":
        return prepare_model(recipe.model, recipe.paths)
    path = Path(recipe.target).expanduser()
    if recipe.target == "trained":
        run = prepare_train(recipe).run
        if not run.is_finished:
            raise ValueError(
                f"target=trained, but the training run {run.path} is not finished. Run "
                "`python -m jobs.train` with the same overrides first."
            )
        path = run.path / EXPORT
    if not (path / "config.json").is_file():
        raise ValueError(
            f"target={recipe.target!r}: {path} is no model directory (with a config.json). Legal: "
            "base, trained, or the path of one; adapters go into server.adapters."
        )
    return read_model(path)


def _find_adapter(name: str, path: str) -> Path:
    directory = Path(path).expanduser().resolve()
    if not (directory / "adapter_config.json").is_file():
        raise ValueError(
            f"server.adapters.{name}: {directory} holds no adapter_config.json, so it is no PEFT "
            "adapter. Give the directory that a training with LoRA exported."
        )
    return directory


def _read_key(config: ServerConfig) -> str | None:
    key = os.environ.get(config.api_key_variable, "")
    if not key and not config.is_loopback:
        raise ValueError(
            f"server.host={config.host} can be reached from other machines, so clients must bear "
            f"a key. Put one into the environment variable {config.api_key_variable} on every "
            "node, or set server.host=127.0.0.1."
        )
    return key or None


def _check_port(config: ServerConfig) -> None:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            raise ValueError(
                f"cannot listen on server.host={config.host}, server.port={config.port}: "
                f"{error.strerror}. Choose another port or an address of this machine."
            ) from error
