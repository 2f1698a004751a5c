"""Many conversations for one chat engine: so many at a time, answers as they come.

It knows neither what is asked nor what becomes of an answer.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from itertools import islice

from s1ray.generation.chat.chat_engine import ChatEngine, ChatReply, ChatRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What became of one request."""

    key: str
    reply: ChatReply | None
    error: str | None
    """Why there is no reply; None where there is one."""


async def ask_all(
    requests: Mapping[str, ChatRequest],
    *,
    engine: ChatEngine,
    max_in_flight: int,
    max_consecutive_failures: int,
) -> AsyncGenerator[Asked, None]:
    """Yield what became of every request, in the order in which it is known.

    A request waits until there is room, so that a spending cap holds back all that have not begun.

    Args:
        requests: By any key; repeated ones should share one.
        engine: Answers; what it raises as ValueError or RuntimeError becomes that request's error.
        max_in_flight: Requests under way at once.
        max_consecutive_failures: So many errors with no answer between them end it; what is under
            way then is still waited for, for it is paid.

    Raises:
        RuntimeError: Too many requests failed one after the other.
    """
    todo = iter(requests.items())
    running: dict[asyncio.Task[ChatReply], str] = {}
    failures = 0
    try:
        while True:
            if failures < max_consecutive_failures:
                for key, request in islice(todo, max_in_flight - len(running)):
                    running[asyncio.create_task(_ask(engine, request))] = key
            if not running:
                break
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                asked = _read(task, key=running.pop(task))
                failures = 0 if asked.error is None else failures + 1
                last_error = asked.error
                yield asked
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    if failures >= max_consecutive_failures:
        raise RuntimeError(_describe_end(failures, last_error))


def _describe_end(failures: int, last_error: str | None) -> str:
    return (
        f"{failures} requests failed one after the other, the last one with: {last_error} What was "
        "answered is kept; remove the cause and start again, and only the rest is asked."
    )


async def _ask(engine: ChatEngine, request: ChatRequest) -> ChatReply:
    return await engine.reply(request)


def _read(task: asyncio.Task[ChatReply], *, key: str) -> Asked:
    try:
        return Asked(key=key, reply=task.result(), error=None)
    except (ValueError, RuntimeError) as error:
        return Asked(key=key, reply=None, error=f"{type(error).__name__}: {error}")
