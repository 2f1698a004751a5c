"""The secrets that this process could give away: those of its environment, of netrc and of Ray."""

import logging
import netrc
import os
from pathlib import Path

from s1ray.config.secrecy import list_secrets, redact

TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"
DEFAULT_TOKEN = Path("~/.ray/auth_token")


def find_token_file() -> Path | None:
    """Return the file from which this process takes Ray's token; None where there is none."""
    path = Path(os.environ.get(TOKEN_PATH) or DEFAULT_TOKEN).expanduser()
    return path if path.is_file() else None


def list_secrets_at_hand() -> tuple[str, ...]:
    """Return the values to keep out of everything that is written or sent, longest first."""
    values = {*list_secrets(os.environ), *_read_netrc(), *_read_token()}
    return tuple(sorted(values, key=len, reverse=True))


def redact_at_hand(text: str) -> str:
    """Return the text without any of this process's secrets."""
    return redact(text, known=list_secrets_at_hand())


class RedactingFormatter(logging.Formatter):
    """Formats a log line, and its traceback, without any of this process's secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return redact_at_hand(super().format(record))


def _read_netrc() -> set[str]:
    try:
        hosts = netrc.netrc().hosts
    except (OSError, netrc.NetrcParseError):
        return set()
    return {password for _, _, password in hosts.values() if password}


def _read_token() -> set[str]:
    path = find_token_file()
    try:
        token = "" if path is None else path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return set()
    return {token} - {""}
