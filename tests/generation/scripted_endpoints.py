"""An endpoint on loopback that answers as a script says, and an engine that asks it."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from s1ray.generation.chat.chat_engine import ChatReply, ChatRequest, Message
from s1ray.generation.chat.openai_engine import OpenAIEngine
from tests.generation.chat_requests import POLICY, configure_endpoint
from tests.generation.scripted_engines import GREEDY

ASK = ChatRequest(messages=(Message(role="user", content="1+1?"),), policy=POLICY, sampling=GREEDY)
SERIAL_SECONDS = 10
"""After which requests that should come together have come one by one."""
MESSAGE = {"role": "assistant", "content": "2", "reasoning_content": "abc"}


def make_reply(message: dict[str, Any], **usage: Any) -> dict[str, Any]:
    counts = {"prompt_tokens": 100, "completion_tokens": 200, **usage}
    return {"choices": [{"message": message, "finish_reason": "stop"}], "usage": counts}


@dataclass
class Script:
    """What a fake endpoint answers, in order; the last for ever."""

    steps: list[Any]
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    most_at_once: int = 0
    at_once: int = 0
    together: threading.Barrier = field(default_factory=lambda: threading.Barrier(3))
    """Holds replies until three are asked for; broken where they do not come together."""
    is_asked: threading.Event = field(default_factory=threading.Event)
    """Set with the first request."""
    is_over: threading.Event = field(default_factory=threading.Event)
    """Set when nobody asks any more; a silent endpoint answers then."""


@contextmanager
def endpoint(*steps: Any) -> Iterator[tuple[str, Script]]:
    script = Script(list(steps))
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script.keys.append(self.headers["Authorization"])
            self.answer(script.steps[0])

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                step = script.steps.pop(0) if len(script.steps) > 1 else script.steps[0]
                script.bodies.append(body)
                script.keys.append(self.headers["Authorization"])
                script.times.append(time.monotonic())
                script.at_once += 1
                script.most_at_once = max(script.most_at_once, script.at_once)
            if step == "together":
                with suppress(threading.BrokenBarrierError):
                    script.together.wait(SERIAL_SECONDS)
                time.sleep(0.05)  # for more than are allowed
                step = make_reply(MESSAGE)
            script.is_asked.set()
            if step == "silent":
                script.is_over.wait()
                step = make_reply(MESSAGE)
            # Before the answer: its reader may send the next request at once.
            with lock:
                script.at_once -= 1
            self.answer(step)

        def answer(self, step: Any) -> None:
            if step == "cut":
                self.connection.close()
                return
            status, headers, content = step if isinstance(step, tuple) else (200, {}, step)
            data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # a cut connection is not news
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", script
    finally:
        script.is_over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def ask(
    base_url: str, *, number: int = 1, request: ChatRequest = ASK, **changes: Any
) -> list[ChatReply]:
    async def run() -> list[ChatReply]:
        engine = OpenAIEngine(configure_endpoint(base_url=base_url, **changes))
        try:
            return await asyncio.gather(*(engine.reply(request) for _ in range(number)))
        finally:
            await engine.close()

    return asyncio.run(run())
