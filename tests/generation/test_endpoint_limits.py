"""What an endpoint is spared: requests at once, requests a minute, and money."""

import asyncio
import time

import pytest

from s1ray.generation.chat.chat_engine import ChatEngine
from s1ray.generation.chat.openai_engine import OpenAIEngine
from tests.generation.chat_requests import configure_endpoint
from tests.generation.scripted_endpoints import ASK, MESSAGE, ask, endpoint, make_reply


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
