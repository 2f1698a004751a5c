"""Endpoints that are busy, broken, silent or that refuse: what is asked again and what is not."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.generation.scripted_endpoints import MESSAGE, ask, endpoint, make_reply

ROOT = Path(__file__).parents[2]


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
        from tests.generation.scripted_endpoints import ASK
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
