"""Requests that are not answered, as OpenAI's clients expect to hear it."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
}
"""Of errors, by HTTP status."""


class RefusalError(Exception):
    """A request that is not answered: the HTTP status, and what the client should do about it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self._message = message
        self._param = param
        self._code = code
        self._retry_after_seconds = retry_after_seconds

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the response."""
        headers = {}
        if self._retry_after_seconds is not None:
            headers["Retry-After"] = str(self._retry_after_seconds)
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers

    def describe(self) -> dict[str, Any]:
        """Return the body of the response."""
        return {
            "error": {
                "message": self._message,
                "type": KINDS[self.status],
                "param": self._param,
                "code": self._code,
            }
        }


def refuse_body(error: ValidationError) -> RefusalError:
    """Return the refusal of a body that is not a request: every wrong field with its path."""
    paths, lines = [], []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        path = ".".join(str(part) for part in problem["loc"]) or "body"
        is_unknown = problem["type"] == "extra_forbidden"
        paths.append(path)
        lines.append(f"{path}: {'there is no such field' if is_unknown else problem['msg']}")
    return RefusalError(400, "; ".join(lines), param=paths[0], code="invalid_body")
