"""Answers chat requests, whole or as they come; no more at a time than it may.

It knows jobs, chains and events. It does not know HTTP, Ray or who asks. How many requests are
under way is counted here, for here it is known when one has ended, be it that its client hung up.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from s1ray.generation.following import Part, follow
from s1ray.generation.forcing import Chain, complete
from s1ray.generation.text_stream import TextStream
from s1ray.records import Completion
from s1ray.serving.answers import DONE
from s1ray.serving.chat_job import ChatJob, ChatModel
from s1ray.serving.chat_request import ChatBody
from s1ray.serving.refusal import RefusalError


class ChatServer:
    """Answers chat requests on a model and its adapters."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model
        self._config = model.config
        self._started = int(time.time())
        self._in_flight = 0
        self._failures_in_a_row = 0
        self._counts: Counter[str] = Counter()

    @property
    def is_healthy(self) -> bool:
        """Whether the engine answers; after too many failures in a row nobody believes it."""
        return self._failures_in_a_row < self._config.unhealthy_failures

    def describe_models(self) -> dict[str, Any]:
        """Return ``/v1/models``: the model and its adapters."""
        models = [
            {"id": name, "object": "model", "created": self._started, "owned_by": "s1ray"}
            for name in self._model.engines
        ]
        return {"object": "list", "data": models}

    def count(self) -> Mapping[str, float]:
        """Return what was asked for and done so far, by metric, and what is under way."""
        return {**self._counts, "requests_in_flight": self._in_flight}

    def count_refusal(self, status: int) -> None:
        """Count a request that was not answered."""
        self._counts[f'requests_total{{status="{status}"}}'] += 1

    async def answer(self, body: ChatBody) -> dict[str, Any]:
        """Return the whole answer to a request.

        Raises:
            RefusalError: The request cannot be served, or the server is full.
        """
        job = self._model.prepare(body)
        with self._admit():
            completions = await _gather([complete(job.engine, chain) for chain in job.chains])
            self._record(completions)
        return job.envelope.write_completion(completions, num_prompt_tokens=job.num_prompt_tokens)

    async def stream(self, body: ChatBody) -> AsyncGenerator[str, None]:
        """Answer a request in server-sent events; closing the stream stops its generation.

        Raises:
            RefusalError: As ``answer``, before the first event.
        """
        job = self._model.prepare(body)
        with self._admit():
            for index in range(len(job.chains)):
                yield job.envelope.write_beginning(index)
            events: asyncio.Queue[str | None] = asyncio.Queue()
            work = asyncio.create_task(self._write(job, events))
            try:
                while (event := await events.get()) is not None:
                    yield event
                completions = await work
            finally:
                work.cancel()
            self._record(completions)
            if job.has_usage:
                num_prompt_tokens = job.num_prompt_tokens
                yield job.envelope.write_usage(completions, num_prompt_tokens=num_prompt_tokens)
            yield DONE

    async def _write(self, job: ChatJob, events: asyncio.Queue[str | None]) -> Sequence[Completion]:
        """Follow every choice at once; None is the last event, however it ends."""
        try:
            return await _gather(
                [
                    self._write_choice(job, index, chain, events)
                    for index, chain in enumerate(job.chains)
                ]
            )
        finally:
            events.put_nowait(None)

    async def _write_choice(
        self, job: ChatJob, index: int, chain: Chain, events: asyncio.Queue[str | None]
    ) -> Completion:
        texts = {part: TextStream(self._model.tokenizer) for part in Part}

        def tell(part: Part, text: str) -> None:
            if text:
                events.put_nowait(job.envelope.write_text(index, part, text))

        def hear(part: Part, token_ids: tuple[int, ...]) -> None:
            if part is Part.ANSWER:
                tell(Part.THINKING, texts[Part.THINKING].finish())
            tell(part, texts[part].add(token_ids))

        completion = await follow(job.engine, chain, hear=hear)
        for part in Part:
            tell(part, texts[part].finish())
        events.put_nowait(job.envelope.write_end(index, completion))
        return completion

    @contextmanager
    def _admit(self) -> Iterator[None]:
        """Hold one of the server's places while the block runs.

        Raises:
            RefusalError: All are taken.
        """
        limit = self._config.max_requests
        if self._in_flight >= limit:
            raise RefusalError(
                429,
                f"{limit} requests are under way, as many as this server takes at once; try again "
                f"in {self._config.retry_after_seconds} s.",
                code="server_full",
                retry_after_seconds=self._config.retry_after_seconds,
            )
        self._in_flight += 1
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            self._counts["requests_cancelled_total"] += 1
            raise
        except Exception:
            self._failures_in_a_row += 1
            raise
        finally:
            self._in_flight -= 1

    def _record(self, completions: Sequence[Completion]) -> None:
        self._failures_in_a_row = 0
        self._counts['requests_total{status="200"}'] += 1
        for completion in completions:
            self._counts["thinking_tokens_total"] += completion.num_thinking_tokens
            self._counts["answer_tokens_total"] += len(completion.answer_ids)
            self._counts["generated_tokens_total"] += completion.num_generated_tokens
            self._counts["waits_total"] += completion.num_waits_applied
            end = completion.thinking_end.value
            self._counts[f'thinking_ends_total{{reason="{end}"}}'] += 1


async def _gather(work: Sequence[Coroutine[Any, Any, Completion]]) -> Sequence[Completion]:
    """Await all; where one fails or the wait is cancelled, none is left running."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except* Exception as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
