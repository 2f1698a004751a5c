"""The endpoint as clients see it: OpenAI's own client and curl, over real HTTP."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import APIStatusError, OpenAI

from s1ray.config.generation import Accounting
from s1ray.generation.budget import BudgetPolicy
from s1ray.generation.engine import Sampling
from s1ray.generation.forcing import complete, force_budget
from s1ray.generation.sampling import derive_seed
from s1ray.records import Completion
from tests.generation.scripted_engines import IDS, ToyTokenizer, ids_of, toy_tokens
from tests.serving.endpoints import (
    CONTEXT_TOKENS,
    BrokenEngine,
    HeldEngine,
    open_endpoint,
    write_random,
)

ENDS = (IDS["<|im_start|>"], IDS["<|im_end|>"])
MESSAGES = [{"role": "user", "content": "abc"}]
ASK = {"model": "s1ray", "messages": MESSAGES}
KEY = "correct horse"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with open_endpoint(write_random(ends=ENDS)) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def expect(seed: int, *, temperature: float = 1.0, **budget: Any) -> Completion:
    """What the state machine makes of the same request, without any server."""
    policy = BudgetPolicy(
        **{
            "name": "expected",
            "max_thinking_tokens": None,
            "num_waits": 0,
            "wait_strings": ("Wait",),
            "min_thinking_tokens": 0,
            "answer_prefix": "Final Answer:",
            "max_answer_tokens": 16,
            "accounting": Accounting.TOTAL,
            **budget,
        }
    )
    engine = write_random(ends=ENDS)
    chain = force_budget(
        ids_of("aabc<|im_end|>b"),
        policy=policy,
        tokens=toy_tokens("s1"),
        tokenizer=ToyTokenizer(),
        context_tokens=CONTEXT_TOKENS,
        vocabulary_size=engine.vocabulary_size,
        sampling=Sampling(temperature=temperature, top_p=1.0, top_k=0, seed=seed),
    )
    return asyncio.run(complete(engine, chain))


BUDGETS = [
    {},
    {"max_thinking_tokens": 5},
    {"max_thinking_tokens": 40, "num_waits": 3},
    {"num_waits": 2, "min_thinking_tokens": 9, "max_thinking_tokens": 30},
    {"max_thinking_tokens": 12, "answer_prefix": "", "max_answer_tokens": 3},
]


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("seed", range(4))
def test_client_gets_what_the_state_machine_makes(
    client: OpenAI, budget: dict[str, Any], seed: int
) -> None:
    made = client.chat.completions.create(
        **ASK, seed=seed, temperature=1.0, extra_body={"budget": budget}
    )
    expected = expect(derive_seed(seed, 0), **budget)
    message = made.choices[0].message
    assert message.reasoning_content == expected.thinking
    assert message.content == expected.answer
    assert made.choices[0].finish_reason == ("stop" if expected.is_answer_complete else "length")
    assert made.choices[0].budget["num_waits_applied"] == expected.num_waits_applied
    assert made.usage.completion_tokens_details.reasoning_tokens == expected.num_thinking_tokens


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("seed", range(4))
def test_stream_adds_up_to_the_whole_answer(
    client: OpenAI, budget: dict[str, Any], seed: int
) -> None:
    ask = {**ASK, "seed": seed, "temperature": 1.0, "n": 2, "extra_body": {"budget": budget}}
    whole = client.chat.completions.create(**ask)
    texts = {(index, field): "" for index in range(2) for field in ("reasoning_content", "content")}
    ends, usage = {}, None
    with client.chat.completions.create(
        **ask, stream=True, stream_options={"include_usage": True}
    ) as stream:
        for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                for field in ("reasoning_content", "content"):
                    texts[choice.index, field] += getattr(choice.delta, field, None) or ""
                if choice.finish_reason:
                    ends[choice.index] = choice.finish_reason
    for choice in whole.choices:
        assert texts[choice.index, "reasoning_content"] == choice.message.reasoning_content
        assert texts[choice.index, "content"] == choice.message.content
        assert ends[choice.index] == choice.finish_reason
    assert usage == whole.usage


def test_thinking_streams_token_by_token_before_the_answer(client: OpenAI) -> None:
    fields = []
    budget = {"max_thinking_tokens": 20, "min_thinking_tokens": 20}
    ask = {**ASK, "stream": True, "extra_body": {"budget": budget}}
    with client.chat.completions.create(**ask) as chunks:
        for chunk in chunks:
            delta = chunk.choices[0].delta
            fields += [f for f in ("reasoning_content", "content") if getattr(delta, f, None)]
    assert fields == sorted(fields, reverse=True)
    assert fields.count("reasoning_content") == 20


@pytest.mark.parametrize("total", [8, 20, 60])
def test_total_limit_holds_for_thinking_and_answer_together(client: OpenAI, total: int) -> None:
    for seed in range(6):
        usage = client.chat.completions.create(
            **ASK, max_completion_tokens=total, seed=seed, temperature=1.0
        ).usage
        assert usage.completion_tokens <= total


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_gets_the_answer_whole_and_in_events(url: str) -> None:
    def curl(body: dict[str, Any]) -> str:
        command = ["curl", "-sSN", "--fail", f"{url}/v1/chat/completions", "-d", json.dumps(body)]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout

    body = {**ASK, "budget": {"max_thinking_tokens": 10}}
    message = json.loads(curl(body))["choices"][0]["message"]
    *events, end = curl({**body, "stream": True}).split("\n\n")[:-1]
    assert end == "data: [DONE]"
    deltas = [json.loads(e.removeprefix("data: "))["choices"][0]["delta"] for e in events]
    for field in ("reasoning_content", "content"):
        assert "".join(delta.get(field, "") for delta in deltas) == message[field]


@pytest.mark.parametrize("given", [None, "Bearer wrong", KEY, f"Basic {KEY}", "Bearer \xe9"])
def test_request_without_the_key_is_refused(given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given.encode("latin-1")}
    with open_endpoint(write_random(), key=KEY) as url:
        for path in ("/v1/models", "/metrics"):
            assert httpx.get(url + path, headers=headers).status_code == 401
        made = httpx.post(f"{url}/v1/chat/completions", json=ASK, headers=headers)
        assert made.status_code == 401
        assert httpx.get(f"{url}/health").json() == {"status": "ok"}


def test_client_with_the_key_is_served() -> None:
    with (
        open_endpoint(write_random(), key=KEY) as url,
        OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client,
    ):
        assert [model.id for model in client.models.list()] == ["s1ray"]
        assert client.chat.completions.create(**ASK).choices[0].message.content


def test_adapter_answers_under_its_name() -> None:
    base, adapted = write_random(1), write_random(2)
    with (
        open_endpoint(base, adapted={"sums": adapted}) as url,
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        assert [model.id for model in client.models.list()] == ["s1ray", "sums"]
        made = client.chat.completions.create(**{**ASK, "model": "sums"})
    assert made.model == "sums"
    assert (len(base.requests), len(adapted.requests) > 0) == (0, True)


def test_full_server_sends_away_and_serves_again_after_a_hang_up() -> None:
    engine = HeldEngine()
    with (
        open_endpoint(engine, max_requests=1, retry_after_seconds=7) as url,
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        held = client.chat.completions.create(**ASK, stream=True)
        assert engine.begun.wait(30)
        with pytest.raises(APIStatusError) as refused:
            client.chat.completions.create(**ASK)
        assert refused.value.status_code == 429
        assert refused.value.response.headers["Retry-After"] == "7"
        assert refused.value.response.json()["error"]["code"] == "server_full"
        held.close()
        assert engine.stopped.wait(30)
        metrics = httpx.get(f"{url}/metrics").text
    assert "s1ray_requests_in_flight 0" in metrics
    assert "s1ray_requests_cancelled_total 1" in metrics
    assert 's1ray_requests_total{status="429"} 1' in metrics


def test_failing_engine_is_an_error_and_not_the_end() -> None:
    with open_endpoint(BrokenEngine()) as url:
        failed = httpx.post(f"{url}/v1/chat/completions", json=ASK)
        assert (failed.status_code, failed.json()["error"]["type"]) == (500, "server_error")
        assert httpx.post(f"{url}/v1/chat/completions", json=ASK).status_code == 200


def test_engine_that_fails_in_a_stream_ends_it_with_an_error() -> None:
    with open_endpoint(BrokenEngine()) as url:
        failed = httpx.post(f"{url}/v1/chat/completions", json={**ASK, "stream": True})
        last = failed.text.strip().rpartition("data: ")[2]
        assert json.loads(last)["error"]["type"] == "server_error"
        assert httpx.post(f"{url}/v1/chat/completions", json=ASK).status_code == 200


def test_stream_that_fails_is_counted() -> None:
    with open_endpoint(BrokenEngine()) as url:
        httpx.post(f"{url}/v1/chat/completions", json={**ASK, "stream": True})
        assert 's1ray_requests_total{status="500"} 1' in httpx.get(f"{url}/metrics").text


@pytest.mark.parametrize(
    "idle",
    [
        {"stop": []},
        {"logit_bias": {}},
        {"tools": [], "tool_choice": "none"},
        {"store": False},
        {"user": "me", "metadata": {"a": "b"}},
    ],
)
def test_field_that_asks_for_nothing_is_taken(url: str, idle: dict[str, Any]) -> None:
    assert httpx.post(f"{url}/v1/chat/completions", json={**ASK, **idle}).status_code == 200


def test_engine_that_keeps_failing_is_unhealthy_until_it_answers() -> None:
    with open_endpoint(BrokenEngine(3), unhealthy_failures=3) as url:
        healths = []
        for _ in range(4):
            healths.append(httpx.get(f"{url}/health").status_code)
            httpx.post(f"{url}/v1/chat/completions", json=ASK)
        assert healths == [200, 200, 200, 503]
        assert httpx.get(f"{url}/health").status_code == 200


def test_conversation_with_earlier_turns_is_answered(client: OpenAI) -> None:
    made = client.chat.completions.create(
        model="s1ray",
        messages=[
            {"role": "developer", "content": "ab"},
            {"role": "user", "content": [{"type": "text", "text": "a"}]},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ],
    )
    prompt = "aab<|im_end|>aa<|im_end|>ab<|im_end|>ac<|im_end|>b"
    assert made.usage.prompt_tokens == len(ids_of(prompt))
