"""A chat server, checked and named: its model, adapters, key and address. Nothing is started."""

import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from s1ray.chat_format import DELIMITERS, read_thinking_tokens
from s1ray.config.recipe import Recipe
from s1ray.config.server import ServerConfig
from s1ray.model_source.fingerprint import fingerprint_adapter
from s1ray.model_source.model_directory import load_tokenizer
from s1ray.orchestration.answering.evaluation import describe_answering
from s1ray.orchestration.fine_tune.train import prepare_train
from s1ray.orchestration.models import PreparedModel, prepare_model, read_model
from s1ray.orchestration.run_directory.runs import Run
from s1ray.orchestration.stage import name_stage
from s1ray.training.fine_tune import EXPORT


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
    read_key(config)
    _check_port(config)
    identity = {
        "model": model.describe(),
        "adapters": {
            name: asdict(fingerprint_adapter(model.fingerprint, Path(path)))
            for name, path in adapters.items()
        },
        **_describe_answers(recipe),
    }
    run = name_stage(recipe, stage="serve", slug=recipe.name, identity=identity)
    return ServerPlan(recipe=recipe, run=run, model=model, adapters=adapters)


def _describe_answers(recipe: Recipe) -> dict[str, Any]:
    """Return how answers come about where a request does not say."""
    described = describe_answering(recipe)
    shared = {name: described[name] for name in ("sampling", "engine", "format")}
    server = recipe.server
    budget = server.budget.model_dump(mode="json")
    return {**shared, "budget": budget | {"max_thinking_tokens": server.cap}}


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


def read_key(config: ServerConfig) -> str | None:
    """Return the key that clients must bear; None for none.

    Raises:
        ValueError: There is none, and others than this machine could reach the server.
    """
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
