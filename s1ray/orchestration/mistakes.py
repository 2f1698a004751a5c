"""What is wrong with a configuration, in words: which key, what it was given, what to do."""

from collections.abc import Iterator, Mapping, Sequence

from pydantic import ValidationError

_NO_LIST = ("tuple_type", "list_type", "set_type", "frozen_set_type")
"""Pydantic's names for a value that is no list where one is taken."""


def explain_validation(error: ValidationError, *, content: object, prefix: str) -> str:
    """Return every mistake in a line, the dotted path of its key first.

    Args:
        error: What pydantic found.
        content: A mapping of plain values.
        prefix: Where the content stands in the whole configuration, before its dotted paths.
    """
    lines = []
    for problem in error.errors(include_url=False):
        path = (prefix + ".".join(_find_keys(problem["loc"], content))).removesuffix(".")
        what, got = problem["msg"], problem["input"]
        if problem["type"] == "extra_forbidden":
            what = (
                "there is no such key. Remove it or correct its name; `--cfg job` prints every "
                "legal key."
            )
        elif problem["type"] in _NO_LIST:
            what = f"it takes a list. Write {path}=[{'...' if got is None else got}]."
        # A whole section says nothing that its name does not.
        where = path or "the configuration"
        lines.append(f"{where}: {what}" if isinstance(got, Mapping) else f"{where}={got!r}: {what}")
    return "\n".join(lines)


def _find_keys(place: Sequence[str | int], content: object) -> Iterator[str]:
    """Yield the keys on the way to a place, without the kinds that pydantic names between them."""
    for part in place:
        if isinstance(content, Mapping):
            if part not in content and part in (content.get("kind"), content.get("mode")):
                continue
            content = content.get(part)
        elif isinstance(content, Sequence) and isinstance(part, int) and part < len(content):
            content = content[part]
        yield str(part)


def explain_override(error: Exception) -> str:
    """Return Hydra's message with what to do about it."""
    text = f"{error}\n{error.__cause__ or ''}".strip()
    # Hydra proposes +key=value for every unknown key; here most legal keys are in conf/ already.
    lines = [line for line in text.split("\n") if line and not line.startswith("To append")]
    return "\n".join(lines) + (
        "\nOverrides are key=value with dotted keys, or group=choice; `--cfg job` "
        "prints every legal key, `--help` every group. A name that is yours to choose (below "
        "environment, server.adapters, endpoint.extra, budget.conditions.classes) takes a plus: "
        "+environment.NAME=value."
    )
