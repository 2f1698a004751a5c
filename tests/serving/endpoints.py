"""A chat endpoint in this process: the real app under a real HTTP server, on scripted engines."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn
import yaml

from s1ray.config.generation import SamplingConfig
from s1ray.config.server import ServerConfig
from s1ray.generation.engine import Engine, Generation, Listener, Request
from s1ray.serving.app import build_app
from s1ray.serving.chat_job import ChatModel
from s1ray.serving.chat_server import ChatServer
from tests.fakes import CONF
from tests.generation.scripted_engines import (
    ScriptedEngine,
    ToyTokenizer,
    random_language,
    toy_tokens,
)

CONTEXT_TOKENS = 200
GREEDY = SamplingConfig(temperature=0.0, top_p=1.0, top_k=0)


def read_server_config(**changes: Any) -> ServerConfig:
    """conf/server/local.yaml with keys changed; sections are merged."""
    content = yaml.safe_load((CONF / "server/local.yaml").read_text(encoding="utf-8"))
    content["budget"]["max_answer_tokens"] = 16
    for key, value in changes.items():
        content[key] = {**content[key], **value} if isinstance(value, dict) else value
    return ServerConfig.model_validate(content)


def write_random(salt: int = 0, *, ends: tuple[int, ...] = ()) -> ScriptedEngine:
    """An engine whose text is a function of context and seed."""
    return ScriptedEngine(random_language(salt, ends), context_tokens=CONTEXT_TOKENS)


class HeldEngine(ScriptedEngine):
    """An engine that never ends a continuation, and knows when it was told to stop."""

    def __init__(self) -> None:
        super().__init__(random_language(0, ()), context_tokens=CONTEXT_TOKENS)
        self.begun = threading.Event()
        self.stopped = threading.Event()

    async def generate(self, request: Request, *, listener: Listener | None = None) -> Generation:
        self.begun.set()
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            self.stopped.set()


class BrokenEngine(ScriptedEngine):
    """An engine that fails on its first continuations and is well afterwards."""

    def __init__(self, num_failures: int = 1) -> None:
        super().__init__(random_language(0, ()), context_tokens=CONTEXT_TOKENS)
        self.num_failures = num_failures

    async def generate(self, request: Request, *, listener: Listener | None = None) -> Generation:
        if self.num_failures:
            self.num_failures -= 1
            raise RuntimeError("out of memory")
        return await super().generate(request, listener=listener)


def build_model(engines: Mapping[str, Engine], config: ServerConfig) -> ChatModel:
    return ChatModel(
        engines=engines,
        tokenizer=ToyTokenizer(),
        tokens=toy_tokens("s1"),
        system_prompt=None,
        sampling=GREEDY,
        config=config,
    )


@contextmanager
def open_endpoint(
    engine: Engine,
    *,
    adapted: Mapping[str, Engine] | None = None,
    key: str | None = None,
    **changes: Any,
) -> Iterator[str]:
    """Serve while the block runs; yield the address."""
    config = read_server_config(**changes)
    engines = {config.model_name: engine, **(adapted or {})}
    server = ChatServer(build_model(engines, config))

    async def collect() -> Sequence[Mapping[str, float]]:
        return [server.count()]

    app = build_app(server, key=key, body_bytes=config.limits.body_bytes, collect=collect)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    runner = uvicorn.Server(
        uvicorn.Config(app, log_level="critical", lifespan="off", ws="none", access_log=False)
    )
    thread = threading.Thread(target=runner.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        runner.should_exit = True
        runner.force_exit = True
        thread.join()
        listening.close()
