"""What a secret looks like, by its name or by its text; it knows no files and keeps no secret.

Names follow the environment's habits (``WANDB_API_KEY``); texts are those whose providers made them
recognisable. Every other secret is known by being told: what the environment or netrc holds.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

_SECRET_WORDS = {"key", "token", "secret", "password", "passwd", "credential", "credentials"}
_WHERE_WORDS = {"path", "file", "dir", "variable"}
"""A name that ends so tells where a secret lies, not what it is."""
_ASSIGNMENT = re.compile(r"(?<![\w.])([A-Za-z]\w*)=(?!\$)([^\s'\"]+)")
_SHAPES = re.compile(
    r"hf_[A-Za-z0-9]{30,}"  # Hugging Face
    r"|sk-[A-Za-z0-9_-]{20,}"  # OpenAI and its like
    r"|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}"
    r"|AKIA[0-9A-Z]{16}"  # AWS
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_LOGIN = re.compile(r"(?<=://)[^\s/@:'\"{}<>$]*:[^\s/@'\"{}<>$]+(?=@)")
"""Name and password in an address; one in brackets or behind a dollar is yet to be filled in."""
_SHORTEST = 8
"""A shorter value, such as "none" under a secret's name, is sought nowhere."""
REDACTED = "[redacted]"


def is_secret_name(name: str) -> bool:
    """Return whether a variable or key of this name would hold a secret."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    return bool(_SECRET_WORDS & set(words)) and words[-1] not in _WHERE_WORDS


def list_secrets(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets that an environment holds, longest first."""
    values = {
        value
        for name, value in environment.items()
        if is_secret_name(name) and len(value) >= _SHORTEST
    }
    return tuple(sorted(values, key=len, reverse=True))


def names_secret(text: str, *, known: Iterable[str]) -> str | None:
    """Return how a text gives a secret away, without repeating it; None where it is clean.

    Args:
        text: A command, a variable's value, a file's content.
        known: Secrets that are known by value; one that is too short to be told from a word counts
            as none.
    """
    if any(secret in text for secret in known if len(secret) >= _SHORTEST):
        return "holds the value of a secret from your environment"
    if shape := _SHAPES.search(text):
        return f"holds what looks like a secret ({shape[0][:4]}...)"
    if _LOGIN.search(text):
        return "holds an address with a password, which is a secret"
    return None


def names_assigned_secret(text: str, *, known: Iterable[str]) -> str | None:
    """Return as ``names_secret``; also where a variable with a secret's name is set, as NAME=value.

    Args:
        text: A command line or a part of one.
        known: Secrets that are known by value.
    """
    for name, _ in _ASSIGNMENT.findall(text):
        if is_secret_name(name):
            return f"sets {name}, which would be a secret"
    return names_secret(text, known=known)


def list_exposed(content: object, *, known: Iterable[str], path: str = "") -> Iterator[str]:
    """Yield where nested settings give a secret away, and how; the secret is not repeated.

    A text does under a secret's name, and wherever ``names_secret`` finds one.

    Args:
        content: Mappings and lists of plain values.
        known: Secrets that are known by value.
        path: Of the content, before its dotted paths.
    """
    if isinstance(content, Mapping):
        for key, value in content.items():
            if isinstance(value, str) and value and is_secret_name(str(key)):
                yield f"{path}{key} looks like a secret"
            else:
                yield from list_exposed(value, known=known, path=f"{path}{key}.")
    elif isinstance(content, list | tuple):
        for index, value in enumerate(content):
            yield from list_exposed(value, known=known, path=f"{path}{index}.")
    elif isinstance(content, str) and (why := names_secret(content, known=known)):
        yield f"{path.removesuffix('.')} {why}"


def redact(text: str, *, known: Iterable[str]) -> str:
    """Return the text without the secrets that are known, and those that have a known shape.

    Args:
        text: Of any kind.
        known: Secrets that are known by value; one that is too short to be told from a word stays.
    """
    for secret in known:
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, REDACTED)
    return _LOGIN.sub(REDACTED, _SHAPES.sub(REDACTED, text))
