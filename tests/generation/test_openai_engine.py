"""The OpenAI engine: what it sends of a request, and what it reads in a reply."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from s1ray.generation.chat.chat_engine import Message
from s1ray.generation.chat.openai_engine import OpenAIEngine, build_body, list_unenforced
from tests.generation.chat_requests import POLICY, configure_endpoint
from tests.generation.scripted_endpoints import ASK, MESSAGE, ask, endpoint, make_reply
from tests.generation.scripted_engines import GREEDY


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
