"""An endpoint on loopback that answers questions as a script says, and counts who was asked."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CUT = "cut"
"""An answer that closes the connection in the middle of the reply."""


@dataclass
class Teacher:
    """What was asked; a question is its user turn."""

    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)


def reply(content: str, *, finish: str = "stop", **fields: str) -> dict[str, Any]:
    """Return a chat completion of 10 prompt and 100 completion tokens."""
    message = {"role": "assistant", "content": content, **fields}
    usage = {"prompt_tokens": 10, "completion_tokens": 100}
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}


@contextmanager
def teach(answer: Callable[[str, int], Any]) -> Iterator[Teacher]:
    """Serve while the block runs.

    Args:
        answer: From a question and how often it was asked before: an object, a status with an
            object, or ``CUT``.
    """
    teacher = Teacher()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            question = body["messages"][-1]["content"]
            with teacher.changed:
                attempt = teacher.asked[question]
                teacher.asked[question] += 1
                teacher.bodies.append(body)
                teacher.changed.notify_all()
            self.answer(answer(question, attempt))

        def answer(self, step: Any) -> None:
            status, content = step if isinstance(step, tuple) else (200, step)
            data = json.dumps(reply("x") if step == CUT else content).encode()
            self.send_response(status if step != CUT else 200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if step == CUT else data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # a client that was killed is not news
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    teacher.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield teacher
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
