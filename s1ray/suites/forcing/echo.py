"""The least that a server can do: read a body and send it back. ``python -m`` this module PORT."""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def echo(request: Request) -> Response:
    """Return the body as it came."""
    return Response(await request.body(), media_type="application/json")


async def tell_health(_: Request) -> Response:
    """Return that it is there."""
    return Response("ok")


ROUTES = [
    Route("/v1/chat/completions", echo, methods=["POST"]),
    Route("/health", tell_health, methods=["GET"]),
]

if __name__ == "__main__":
    uvicorn.run(
        Starlette(routes=ROUTES),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="critical",
        access_log=False,
    )
