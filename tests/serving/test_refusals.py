"""Requests that are wrong: an error in JSON, and an endpoint that goes on."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.generation.scripted_engines import ScriptedEngine
from tests.serving.endpoints import open_endpoint, write_random

ASK = {"model": "s1ray", "messages": [{"role": "user", "content": "abc"}]}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with open_endpoint(write_random()) as address:
        yield address


WRONG = {
    "not JSON": ("{", 400, None),
    "no messages": ({"model": "s1ray", "messages": []}, 400, "messages"),
    "negative cap": ({**ASK, "budget": {"max_thinking_tokens": -1}}, 400, "max_thinking_tokens"),
    "cap of 0": ({**ASK, "budget": {"max_thinking_tokens": 0}}, 400, "max_thinking_tokens"),
    "cap beyond context": ({**ASK, "budget": {"max_thinking_tokens": 201}}, 400, "200"),
    "cap as text": ({**ASK, "budget": {"max_thinking_tokens": "9"}}, 400, "max_thinking_tokens"),
    "unknown policy": ({**ASK, "budget": {"max_thinking": 9}}, 400, "budget.max_thinking"),
    "too many waits": ({**ASK, "budget": {"num_waits": 17}}, 400, "num_waits"),
    "minimum above cap": (
        {**ASK, "budget": {"max_thinking_tokens": 4, "min_thinking_tokens": 5}},
        400,
        "min_thinking_tokens",
    ),
    "no room for an answer": (
        {**ASK, "max_completion_tokens": 9, "budget": {"max_thinking_tokens": 9}},
        400,
        "max_completion_tokens=9",
    ),
    "no room for an answer, in the older field": (
        {**ASK, "max_tokens": 9, "budget": {"max_thinking_tokens": 9}},
        400,
        "max_tokens=9 ",
    ),
    "unknown field": ({**ASK, "budgets": {}}, 400, "budgets"),
    "unhonoured field": ({**ASK, "stop": "x"}, 400, "stop: this server does not support it"),
    "unhonoured bias": ({**ASK, "logit_bias": {"1": 2}}, 400, "logit_bias: this server does not"),
    "unhonoured penalty": ({**ASK, "presence_penalty": 0.5}, 400, "presence_penalty: this server"),
    "unhonoured tools": ({**ASK, "tools": [{"type": "function"}]}, 400, "tools: this server"),
    "unhonoured name": (
        {**ASK, "messages": [{"role": "user", "content": "abc", "name": "Ann"}]},
        400,
        "name",
    ),
    "too many choices": ({**ASK, "n": 17}, 400, "n=17"),
    "long prompt": (
        {**ASK, "messages": [{"role": "user", "content": "a" * 300}]},
        400,
        "context window",
    ),
    "unknown model": ({**ASK, "model": "gpt-5"}, 404, "gpt-5"),
    "long body": ({**ASK, "user": "x" * 5_000_000}, 413, "bytes"),
}


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("case", WRONG)
def test_wrong_request_is_refused_and_the_next_one_served(
    url: str, case: str, *, is_stream: bool
) -> None:
    body, status, named = WRONG[case]
    content = body if isinstance(body, str) else json.dumps({**body, "stream": is_stream})
    made = httpx.post(f"{url}/v1/chat/completions", content=content)
    error = made.json()["error"]
    assert made.status_code == status
    assert error["type"] in ("invalid_request_error", "not_found_error")
    assert named is None or named in error["message"]
    assert httpx.post(f"{url}/v1/chat/completions", json=ASK).status_code == 200


def test_long_prompt_alone_is_told_from_other_refusals_by_its_code() -> None:
    def code(asked: dict[str, object], engine: ScriptedEngine) -> str | None:
        with open_endpoint(engine) as url:
            made = httpx.post(f"{url}/v1/chat/completions", json={**ASK, **asked})
        assert made.status_code == 400
        return made.json()["error"]["code"]

    small = write_random()
    small.vocabulary_size = 1  # the tokenizer of another model
    long = {"messages": [{"role": "user", "content": "a" * 300}]}
    assert code(long, write_random()) == "context_length_exceeded"
    assert code({}, small) is None


def test_unknown_path_and_method_are_json_errors(url: str) -> None:
    assert httpx.get(f"{url}/v2").json()["error"]["type"] == "not_found_error"
    made = httpx.get(f"{url}/v1/chat/completions")
    assert (made.status_code, "error" in made.json()) == (405, True)
