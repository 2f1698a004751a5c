"""The HTTP face of a chat server: routes, the bearer key, and every error as JSON.

It knows HTTP. It does not know Ray: the app runs under any ASGI server.
"""

import hmac
import logging
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import aclosing

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from s1ray.serving.answers import write_event
from s1ray.serving.chat_request import read_body
from s1ray.serving.chat_server import ChatServer
from s1ray.serving.refusal import RefusalError

logger = logging.getLogger(__name__)

Collect = Callable[[], Awaitable[Sequence[Mapping[str, float]]]]
"""Returns the counts of every replica."""


def build_app(
    server: ChatServer, *, key: str | None, body_bytes: int, collect: Collect
) -> Starlette:
    """Return the endpoint's app.

    Args:
        server: Answers.
        key: What the Authorization header must bear; None for no key.
        body_bytes: The longest body of a request.
        collect: Gathers the counts that ``/metrics`` adds up.
    """
    routes = _Routes(server, key=key, body_bytes=body_bytes, collect=collect)
    return Starlette(
        routes=[
            Route("/v1/chat/completions", routes.chat, methods=["POST"]),
            Route("/v1/models", routes.list_models, methods=["GET"]),
            Route("/health", routes.tell_health, methods=["GET"]),
            Route("/metrics", routes.tell_metrics, methods=["GET"]),
        ],
        exception_handlers={
            RefusalError: routes.refuse,
            HTTPException: routes.refuse_route,
            Exception: routes.fail,
        },
    )


class _Routes:
    def __init__(
        self, server: ChatServer, *, key: str | None, body_bytes: int, collect: Collect
    ) -> None:
        self._server = server
        self._key = key
        self._body_bytes = body_bytes
        self._collect = collect

    async def chat(self, request: Request) -> Response:
        self._check_key(request)
        body = read_body(await self._read(request))
        if not body.stream:
            return JSONResponse(await self._server.answer(body))
        events = self._server.stream(body)
        first = await anext(events)
        return StreamingResponse(self._join(first, events), media_type="text/event-stream")

    async def list_models(self, request: Request) -> Response:
        self._check_key(request)
        return JSONResponse(self._server.describe_models())

    async def tell_health(self, _: Request) -> Response:
        if self._server.is_healthy:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "the engine fails"}, 503)

    async def tell_metrics(self, request: Request) -> Response:
        self._check_key(request)
        total: Counter[str] = Counter()
        for counts in await self._collect():
            total.update(counts)
        return PlainTextResponse(write_metrics(total), media_type="text/plain; version=0.0.4")

    async def refuse(self, _: Request, error: Exception) -> Response:
        assert isinstance(error, RefusalError)
        self._server.count_refusal(error.status)
        return JSONResponse(error.describe(), error.status, headers=error.headers)

    async def refuse_route(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message = f"{request.method} {request.url.path}: {error.detail}"
        status = error.status_code if error.status_code in (404, 405) else 400
        return await self.refuse(request, RefusalError(status, message))

    async def fail(self, request: Request, error: Exception) -> Response:
        logger.error("a request failed", exc_info=error)
        return await self.refuse(request, RefusalError(500, f"the server failed: {error}"))

    async def _join(self, first: str, events: AsyncGenerator[str, None]) -> AsyncIterator[str]:
        """Send the events of a stream; an error on the way is the last of them."""
        try:
            async with aclosing(events):
                yield first
                async for event in events:
                    yield event
        except Exception as error:
            logger.exception("a stream failed")
            self._server.count_refusal(500)
            yield write_event(RefusalError(500, f"the server failed: {error}").describe())

    def _check_key(self, request: Request) -> None:
        """Refuse a request without the key; how long that takes tells nothing about it."""
        if self._key is None:
            return
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._key}".encode()):
            raise RefusalError(
                401,
                "give this server's key as 'Authorization: Bearer KEY'.",
                code="invalid_api_key",
            )

    async def _read(self, request: Request) -> bytes:
        pieces, length = [], 0
        async for piece in request.stream():
            length += len(piece)
            if length > self._body_bytes:
                raise RefusalError(
                    413, f"the body exceeds {self._body_bytes} bytes, this server's limit."
                )
            pieces.append(piece)
        return b"".join(pieces)


def write_metrics(counts: Mapping[str, float]) -> str:
    """Return counts in Prometheus' text format; a name may carry labels in braces."""
    lines, families = [], set()
    for name, value in sorted(counts.items()):
        family = name.partition("{")[0]
        if family not in families:
            families.add(family)
            kind = "counter" if family.endswith("_total") else "gauge"
            lines.append(f"# TYPE s1ray_{family} {kind}\n")
        lines.append(f"s1ray_{name} {value:.15g}\n")
    return "".join(lines)
