"""``python -m jobs.serve`` as users run it: a real Ray Serve, OpenAI's own client and curl."""

import asyncio
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openai import APIStatusError, AsyncOpenAI, OpenAI

from tests.jobs.served import KEY, Server, authorize
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ASK = {"model": "s1ray", "messages": [{"role": "user", "content": "What is 3 + 4?"}]}
LONG = {**ASK, "n": 16, "extra_body": {"budget": {"min_thinking_tokens": 1500}}}


@pytest.fixture
def client(server: Server) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def test_client_gets_budgeted_thinking_whole_and_as_a_stream(client: OpenAI) -> None:
    budget = {"max_thinking_tokens": 24, "num_waits": 2}
    ask = {**ASK, "temperature": 1.0, "seed": 3, "extra_body": {"budget": budget}}
    made = client.chat.completions.create(**ask)
    assert 0 < made.usage.completion_tokens_details.reasoning_tokens <= 24
    texts = {"reasoning_content": "", "content": ""}
    with client.chat.completions.create(**ask, stream=True) as chunks:
        for chunk in chunks:
            for field in texts:
                texts[field] += getattr(chunk.choices[0].delta, field, None) or ""
    message = made.choices[0].message
    assert texts == {"reasoning_content": message.reasoning_content, "content": message.content}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_streams_events_with_the_key(server: Server) -> None:
    body = {**ASK, "stream": True, "budget": {"max_thinking_tokens": 9}}
    command = [
        "curl", "-sSN", "--fail", f"{server.url}/v1/chat/completions", "-d", json.dumps(body),
        "-H", f"Authorization: Bearer {KEY}",
    ]  # fmt: skip
    events = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert events.endswith("data: [DONE]\n\n")
    assert "reasoning_content" in events


def test_adapter_is_chosen_by_its_name(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["s1ray", "sums"]
    plain = client.chat.completions.create(**ASK, max_tokens=60)
    adapted = client.chat.completions.create(**{**ASK, "model": "sums"}, max_tokens=60)
    assert plain.choices[0].message.content != adapted.choices[0].message.content


def test_wrong_key_and_wrong_budget_are_refused_in_json(server: Server) -> None:
    url = f"{server.url}/v1/chat/completions"
    stranger = httpx.post(url, json=ASK, headers=authorize("guess"))
    assert (stranger.status_code, stranger.json()["error"]["code"]) == (401, "invalid_api_key")
    body = {**ASK, "budget": {"max_thinking_tokens": 10**6}}
    beyond = httpx.post(url, json=body, headers=authorize(KEY))
    assert (beyond.status_code, beyond.json()["error"]["code"]) == (400, "budget_out_of_range")


def test_full_server_answers_429_and_its_health(server: Server, client: OpenAI) -> None:
    held = [client.chat.completions.create(**LONG, stream=True) for _ in range(2)]
    with pytest.raises(APIStatusError) as refused:
        client.chat.completions.create(**ASK)
    assert refused.value.status_code == 429
    assert refused.value.response.headers["Retry-After"] == "1"
    assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}
    for stream in held:
        stream.close()
    wait_until(lambda: server.metric("requests_in_flight") == 0)
    assert client.chat.completions.create(**ASK, max_tokens=40).choices


async def ask_and_hang_up(server: Server) -> None:
    """Ask for a whole answer, and close the connection once the server has begun with it."""
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as client:
        asking = asyncio.create_task(client.chat.completions.create(**LONG))
        await asyncio.to_thread(wait_until, lambda: server.metric("requests_in_flight") == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


@pytest.mark.parametrize("is_stream", [False, True])
def test_client_that_hangs_up_stops_the_generation(
    server: Server, client: OpenAI, *, is_stream: bool
) -> None:
    before = server.metric("requests_cancelled_total")
    if is_stream:
        client.chat.completions.create(**LONG, stream=True).close()
    else:
        asyncio.run(ask_and_hang_up(server))
    wait_until(lambda: server.metric("requests_in_flight") == 0)
    assert server.metric("requests_cancelled_total") == before + 1
    decoded = server.metric("engine_decoded_tokens_total")
    client.chat.completions.create(**ASK, extra_body={"budget": {"max_thinking_tokens": 1}})
    assert server.metric("engine_decoded_tokens_total") - decoded < 200


def test_signal_ends_it_with_its_directory_last(server: Server) -> None:
    server.process.send_signal(signal.SIGTERM)
    output, _ = server.process.communicate(timeout=60)
    path = Path(output.strip())
    assert server.process.returncode == 0
    assert path.parent == server.storage / "serve"
    assert KEY not in "".join(file.read_text() for file in path.iterdir())
    names = {file.name for file in path.iterdir()}
    assert names - {"code.diff"} == {"config.yaml", "environment.txt", "run.json"}
