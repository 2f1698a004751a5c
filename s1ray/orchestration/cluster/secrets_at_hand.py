"""The secrets that this process could give away: those of its environment, of netrc and of Ray."""

import logging
import netrc
import os
from pathlib import Path

from s1ray.config.secrecy import list_secrets, redact

TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"
DEFAULT_TOKEN = Path("~/.ray/auth_token")
_NETRC = "NETRC"
_NETRC_PLACES = ("~/.netrc", "~/_netrc")


def find_token_file() -> Path | None:
    """Return the file from which this process takes Ray's token; None where there is none."""
    path = Path(os.environ.get(TOKEN_PATH) or DEFAULT_TOKEN).expanduser()
    return path if path.is_file() else None


def list_secrets_at_hand() -> tuple[str, ...]:
    """Return the values to keep out of everything that is written or sent, longest first."""
    values = {*list_secrets(os.environ), *read_netrc().values(), *_read_token()} - {""}
    return tuple(sorted(values, key=len, reverse=True))


def redact_at_hand(text: str) -> str:
    """Return the text without any of this process's secrets."""
    return redact(text, known=list_secrets_at_hand())


class RedactingFormatter(logging.Formatter):
    """Formats a log line, and its traceback, without any of this process's secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return redact_at_hand(super().format(record))


def read_netrc() -> dict[str, str]:
    """Return the passwords of netrc by machine, from the file that W&B's client takes.

    That of every other machine stands under ``default``. A file that cannot be read has none.
    """
    named = os.environ.get(_NETRC)
    places = [Path(place).expanduser() for place in ([named] if named else _NETRC_PLACES)]
    try:
        path = next((place for place in places if place.exists()), places[0])
        hosts = netrc.netrc(path).hosts
    except (OSError, UnicodeDecodeError, netrc.NetrcParseError):
        return {}
    return {machine: password or "" for machine, (_, _, password) in hosts.items()}


def _read_token() -> set[str]:
    path = find_token_file()
    try:
        token = "" if path is None else path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return set()
    return {token} - {""}
