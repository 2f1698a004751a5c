"""Posting JSON to an endpoint that is sometimes busy: limits, retries, pauses.

It knows HTTP and patience. It does not know what is asked or answered. The standard library does
the work, one connection a request: against minutes of reasoning a handshake is nothing.
"""

import asyncio
import http.client
import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same request may succeed."""
SHOWN_CHARACTERS = 500
"""Of an endpoint's complaint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A JSON object that came back."""

    content: dict[str, Any]
    num_tries: int
    seconds: float


class _BusyError(Exception):
    """The endpoint may succeed later."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """Leaves a redirection an error: followed, it would take the key along to another host."""

    def redirect_request(self, *_: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirection)


class Transport:
    """Posts to one endpoint, so many at a time and so many a minute."""

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str],
        max_concurrency: int,
        requests_per_minute: float | None,
        max_tries: int,
        backoff_seconds: float,
        max_backoff_seconds: float,
        timeout_seconds: float,
    ) -> None:
        self._base_url = base_url
        self._headers = {"Content-Type": "application/json", **headers}
        self._places = threading.Semaphore(max_concurrency)
        self._is_closed = False
        self._pause_seconds = 60 / requests_per_minute if requests_per_minute else 0.0
        self._next_start = 0.0
        self._max_tries = max_tries
        self._backoff_seconds = backoff_seconds
        self._max_backoff_seconds = max_backoff_seconds
        self._timeout_seconds = timeout_seconds
        self.num_tries = 0

    async def post(self, path: str, body: Mapping[str, Any]) -> Response:
        """Post an object until the endpoint answers with one.

        Raises:
            ValueError: The endpoint refuses the request.
            RuntimeError: It was busy, failing or cut off in every try, or the way is closed.
        """
        complaint = ""
        for attempt in range(self._max_tries):
            await self._wait_for_turn()
            start = time.monotonic()
            try:
                content = await self._post_aside(path, body)
            except _BusyError as busy:
                complaint = str(busy)
                if attempt + 1 < self._max_tries:
                    await asyncio.sleep(self._choose_pause(attempt, busy.retry_after_seconds))
            else:
                seconds = time.monotonic() - start
                return Response(content=content, num_tries=attempt + 1, seconds=seconds)
        raise RuntimeError(
            f"{self._base_url}{path} failed {self._max_tries} times, at last with: {complaint}. "
            "Try later, or raise endpoint.max_tries or endpoint.timeout_seconds."
        )

    def close(self) -> None:
        """Begin no further request."""
        self._is_closed = True

    async def _post_aside(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Post in a thread of its own, for which the end of the process does not wait.

        A pool's threads are joined there: Ctrl-C would last as long as the slowest reply.
        """
        future: Future[dict[str, Any]] = Future()

        def run() -> None:
            with self._places:
                if not future.set_running_or_notify_cancel():
                    return
                try:
                    future.set_result(self._post_once(path, body))
                except BaseException as error:  # whoever waits hears of it
                    future.set_exception(error)

        threading.Thread(target=run, name="endpoint", daemon=True).start()
        return await asyncio.wrap_future(future)

    async def _wait_for_turn(self) -> None:
        now = time.monotonic()
        turn = max(now, self._next_start)
        self._next_start = turn + self._pause_seconds
        await asyncio.sleep(turn - now)

    def _choose_pause(self, attempt: int, retry_after_seconds: float) -> float:
        longest = min(self._max_backoff_seconds, self._backoff_seconds * 2**attempt)
        # Clients that failed together must not come back together.
        pause = random.uniform(0, longest)
        return min(max(pause, retry_after_seconds), self._max_backoff_seconds)

    def _post_once(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if self._is_closed:
            raise RuntimeError(f"{self._base_url} is asked nothing more: its engine is closed.")
        self.num_tries += 1
        text = json.dumps(body, ensure_ascii=False, allow_nan=False)
        request = urllib.request.Request(
            self._base_url + path,
            # A lone surrogate has no UTF-8 form; its backslash form is JSON's own escape for it.
            data=text.encode("utf-8", "backslashreplace"),
            headers=self._headers,
            method="POST",
        )
        try:
            with _OPENER.open(request, timeout=self._timeout_seconds) as reply:
                content = json.loads(reply.read())
        except urllib.error.HTTPError as error:
            raise self._describe(error) from error
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
            raise _BusyError(f"{type(error).__name__}: {error}", retry_after_seconds=0) from error
        if not isinstance(content, dict):
            raise _BusyError("the reply is not a JSON object", retry_after_seconds=0)
        if content.get("error"):
            # Routers send 200 before they know how their own provider fares.
            said = json.dumps(content["error"], ensure_ascii=False)[:SHOWN_CHARACTERS]
            raise _BusyError(f"HTTP 200 with the error {said}", retry_after_seconds=0)
        return content

    def _describe(self, error: urllib.error.HTTPError) -> Exception:
        with error:
            try:
                said = error.read().decode(errors="replace")[:SHOWN_CHARACTERS]
            except (OSError, http.client.HTTPException):  # cut off: the status says enough
                said = ""
        message = f"HTTP {error.code} {said}"
        if error.code in BUSY:
            asked = error.headers.get("Retry-After", "")
            is_number = asked.replace(".", "", 1).isdigit()
            return _BusyError(message, retry_after_seconds=float(asked) if is_number else 0)
        return ValueError(
            f"{error.url} refused the request: {message}. Check endpoint.model, endpoint.base_url "
            "(a redirection is not followed), the key and endpoint.extra."
        )
