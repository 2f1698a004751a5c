import asyncio
import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from s1ray.generation.chat.chat_engine import ChatEngine, ChatReply, ChatRequest, Message
from s1ray.generation.chat.openai_engine import OpenAIEngine, build_body, list_unenforced
from tests.generation.chat_requests import POLICY, configure_endpoint
from tests.generation.scripted_engines import GREEDY

ROOT = Path(__file__).parents[2]
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


def test_reply_carries_texts_counts_cost_and_what_was_not_enforced() -> None:
    usage = {"completion_tokens_details": {"reasoning_tokens": 150}}
    with endpoint(make_reply(MESSAGE, **usage)) as (url, script):
        reply = ask(url)[0]
    assert (reply.thinking, reply.answer, reply.is_complete) == ("abc", "2", True)
    assert (reply.num_prompt_tokens, reply.num_completion_tokens) == (100, 200)
    assert reply.num_thinking_tokens == 150
    assert reply.cost_usd == pytest.approx(100 * 2e-6 + 200 * 10e-6)
    assert reply.unenforced == ("max_thinking_tokens", "num_waits")
    assert script.bodies == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "1+1?"}],
            "max_tokens": 99,
            "temperature": 0.0,
            "top_p": 1.0,
            "seed": 0,
        }
    ]


def test_budget_and_waits_go_where_the_endpoint_takes_them() -> None:
    config = configure_endpoint(
        budget_field="budget.max_thinking_tokens",
        waits_field="budget.num_waits",
        sends_sampling=False,
        extra={"budget": {"kept": 1}, "reasoning_effort": "high"},
    )
    body = build_body(ASK, config=config)
    assert body["budget"] == {"kept": 1, "max_thinking_tokens": 50, "num_waits": 2}
    assert body["reasoning_effort"] == "high"
    assert "temperature" not in body
    assert config.extra["budget"] == {"kept": 1}
    assert list_unenforced(POLICY, GREEDY, config=config) == ("sampling",)


def test_every_wish_that_an_endpoint_cannot_carry_is_named() -> None:
    policy = replace(POLICY, min_thinking_tokens=3, is_step_limited=True, max_tries=2)
    made = list_unenforced(policy, replace(GREEDY, top_k=5), config=configure_endpoint())
    assert made == (
        "max_thinking_tokens",
        "num_waits",
        "min_thinking_tokens",
        "is_step_limited",
        "max_tries",
        "top_k",
    )


@pytest.mark.parametrize(
    "message",
    [
        {"content": "2", "reasoning": "abc"},
        {"content": "<think>abc</think>2"},
        {"content": "2", "reasoning_content": "abc"},
    ],
)
def test_thinking_is_found_wherever_the_endpoint_puts_it(message: dict[str, str]) -> None:
    with endpoint(make_reply(message)) as (url, _):
        reply = ask(url)[0]
    assert (reply.thinking, reply.answer) == ("abc", "2")


@pytest.mark.parametrize(
    "trouble", [(429, {}, "slow down"), (503, {}, ""), "cut", "no json", ["no", "object"]]
)
def test_busy_or_broken_endpoint_is_asked_again(trouble: Any) -> None:
    with endpoint(trouble, trouble, make_reply(MESSAGE)) as (url, script):
        reply = ask(url)[0]
    assert (reply.num_tries, reply.answer) == (3, "2")
    assert len(script.bodies) == 3


def test_retry_after_is_waited_for() -> None:
    busy = (429, {"Retry-After": "0.3"}, "")
    with endpoint(busy, make_reply(MESSAGE)) as (url, script):
        ask(url, max_backoff_seconds=5.0)
    assert script.times[1] - script.times[0] >= 0.3


def test_endpoint_that_stays_busy_is_given_up() -> None:
    with (
        endpoint((503, {}, "overloaded")) as (url, script),
        pytest.raises(RuntimeError, match="failed 4 times, at last with: HTTP 503 overloaded"),
    ):
        ask(url)
    assert len(script.bodies) == 4


def test_silent_endpoint_is_given_up_after_the_time_limit() -> None:
    with (
        endpoint("silent") as (url, _),
        pytest.raises(RuntimeError, match="failed 1 times, at last with: TimeoutError"),
    ):
        ask(url, max_tries=1, timeout_seconds=0.01)


def test_refused_request_is_not_repeated() -> None:
    with (
        endpoint((401, {}, '{"error": "bad key"}')) as (url, script),
        pytest.raises(ValueError, match=r"refused the request: HTTP 401 .*bad key"),
    ):
        ask(url)
    assert len(script.bodies) == 1


def test_reply_in_an_unknown_form_is_named() -> None:
    with (
        endpoint({"text": "2", "usage": {}}) as (url, _),
        pytest.raises(RuntimeError, match="unknown form: no 'choices' among text, usage"),
    ):
        ask(url)


@pytest.mark.parametrize(
    "reply",
    [
        {"choices": ["2"], "usage": {"prompt_tokens": 1, "completion_tokens": 1}},
        {"choices": [{"message": MESSAGE}], "usage": {"completion_tokens": 1}},
    ],
)
def test_reply_without_a_message_or_without_what_it_cost_is_refused(reply: Any) -> None:
    with (
        endpoint(reply) as (url, _),
        pytest.raises(RuntimeError, match=r"unknown form: .* among choices, usage.*prompt_tokens"),
    ):
        ask(url)


def test_error_in_a_200_is_tried_again_and_said_in_the_endpoints_words() -> None:
    trouble = {"error": {"message": "Provider returned error", "code": 502}}
    with endpoint(trouble, make_reply(MESSAGE)) as (url, _):
        assert ask(url)[0].num_tries == 2
    with (
        endpoint(trouble) as (url, _),
        pytest.raises(RuntimeError, match=r"failed 4 times.*HTTP 200.*Provider returned error"),
    ):
        ask(url)


def test_error_whose_body_is_cut_is_tried_again() -> None:
    cut = (502, {"Content-Length": "1000", "Connection": "close"}, "Bad gate")
    with endpoint(cut, make_reply(MESSAGE)) as (url, _):
        assert ask(url)[0].num_tries == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirection_is_refused_and_the_key_stays_here(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "k")
    with endpoint(make_reply(MESSAGE)) as (other, elsewhere):
        moved = (status, {"Location": other}, "")
        with (
            endpoint(moved) as (url, _),
            pytest.raises(ValueError, match=rf"HTTP {status}.*redirection is not followed"),
        ):
            ask(url, api_key_variable="SOME_KEY")
    assert elsewhere.keys == []


def test_interrupt_ends_a_process_that_waits_for_a_reply() -> None:
    code = """
        import asyncio, sys
        from s1ray.generation.chat.openai_engine import OpenAIEngine
        from tests.generation.chat_requests import configure_endpoint
        from tests.generation.test_openai_engine import ASK
        engine = OpenAIEngine(configure_endpoint(base_url=sys.argv[1], timeout_seconds=1800))
        asyncio.run(engine.reply(ASK))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with endpoint("silent") as (url, script):
        asking = subprocess.Popen([*command, url], cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            assert script.is_asked.wait(120)
            asking.send_signal(signal.SIGINT)
            assert asking.wait(30) != 0
        finally:
            asking.kill()
            asking.wait()


def test_half_a_surrogate_pair_is_sent_as_it_is() -> None:
    message = Message(role="user", content="a \ud83d")
    with endpoint(make_reply(MESSAGE)) as (url, script):
        ask(url, request=replace(ASK, messages=(message,)))
    assert script.bodies[0]["messages"] == [{"role": "user", "content": "a \ud83d"}]


def test_key_comes_from_the_environment_and_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "k")
    with endpoint(make_reply(MESSAGE)) as (url, script):
        ask(url, api_key_variable="SOME_KEY")
    assert script.keys == ["Bearer k"]


def test_absent_key_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(ValueError, match="the environment variable SOME_KEY is not set"):
        OpenAIEngine(configure_endpoint(api_key_variable="SOME_KEY"))


def test_as_many_requests_as_allowed_run_at_once_and_no_more() -> None:
    with endpoint("together") as (url, script):
        ask(url, number=9, max_concurrency=3)
    assert script.most_at_once == 3
    assert len(script.bodies) == 9


def test_requests_a_minute_are_spread() -> None:
    began = time.monotonic()
    with endpoint(make_reply(MESSAGE)) as (url, script):
        ask(url, number=4, requests_per_minute=600.0)
    # However late the first one comes, none comes before its turn; clocks may round it.
    waited = [arrived - began for arrived in sorted(script.times)]
    assert all(seconds > 0.1 * turn - 1e-3 for turn, seconds in enumerate(waited))


def test_spent_money_ends_the_asking() -> None:
    async def run(url: str) -> dict[str, float]:
        engine = OpenAIEngine(configure_endpoint(base_url=url, max_cost_usd=0.003))
        await engine.reply(ASK)
        await engine.reply(ASK)
        with pytest.raises(RuntimeError, match=r"0\.00 USD are spent and endpoint.max_cost_usd"):
            await engine.reply(ASK)
        assert isinstance(engine, ChatEngine)
        return dict(engine.counters())

    with endpoint(make_reply(MESSAGE)) as (url, _):
        counts = asyncio.run(run(url))
    assert counts == {
        "requests": 2,
        "prompt_tokens": 200,
        "completion_tokens": 400,
        "cost_usd": pytest.approx(0.0044),
        "tries": 2,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_url": "ftp://x/v1"}, "String should match pattern"),
        ({"base_url": "https://x/v1/"}, "String should match pattern"),
        ({"api_key_variable": "sk-123"}, "String should match pattern"),
        (
            {"max_cost_usd": 1.0, "usd_per_million_prompt_tokens": None},
            "max_cost_usd=1.0 needs both prices",
        ),
    ],
)
def test_endpoint_with_a_wrong_value_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        configure_endpoint(**changes)
