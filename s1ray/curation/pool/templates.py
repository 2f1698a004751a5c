"""Templates over a row's columns: texts whose ``{column}`` fields are filled in.

It knows one row's values, not which of them make a question.
"""

import math
import re
from collections.abc import Mapping

LINES, COMMAS = "\n", ", "
"""What stands between the entries of a list."""
_FIELD = re.compile(r"\{([^{}]+)\}")
_SHOWN_CHARACTERS = 200


class BadRowError(ValueError):
    """A row that cannot be used; carries the reason's name and what was found."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self.name = name


def render(template: str, columns: Mapping[str, object], *, joiner: str) -> str:
    """Return a template with its columns filled in and white space stripped at both ends.

    Args:
        template: Text with ``{column}`` fields.
        columns: The row.
        joiner: Between the entries of a list.

    Raises:
        BadRowError: A column is missing, or no text.
    """
    text = _FIELD.sub(lambda match: look_up_text(columns, match.group(1), joiner), template)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRowError("malformed", f"{template}: half a surrogate pair") from error
    return text.strip()


def look_up(columns: Mapping[str, object], path: str) -> object:
    """Return a column's value.

    A dot looks inside an object or, with a number, a list; null holds nothing but null. A NaN is
    null: pandas writes what is missing so.

    Raises:
        BadRowError: There is no such column.
    """
    value: object = columns
    for key in path.split("."):
        if value is None:
            return None
        if isinstance(value, list) and key.isdigit():
            value = dict(enumerate(value)).get(int(key))
            continue
        if not isinstance(value, Mapping):
            raise BadRowError("wrong_type", f"column {path}: {key} is looked for in no object")
        if key not in value:
            raise BadRowError("missing_column", _describe_missing(path, key=key, columns=value))
        value = value[key]
    return None if isinstance(value, float) and math.isnan(value) else value


def find_fields(template: str) -> list[str]:
    """Return the columns that a template names."""
    return _FIELD.findall(template)


def render_optional(template: str | None, columns: Mapping[str, object]) -> str | None:
    """Return a template filled in; None where there is no template or no text."""
    return render(template, columns, joiner=LINES) or None if template else None


def look_up_text(columns: Mapping[str, object], path: str, joiner: str) -> str:
    """Return a column's value as text: null is empty, and entries of lists are joined.

    Raises:
        BadRowError: There is no such column, or it holds an object.
    """
    return _spell(look_up(columns, path), path=path, joiner=joiner)


def _spell(value: object, *, path: str, joiner: str) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return joiner.join(_spell(entry, path=path, joiner=joiner) for entry in value)
    if isinstance(value, Mapping):
        keys = _list_names(value)
        raise BadRowError("wrong_type", f"column {path}: an object, not a text; it holds {keys}")
    return str(value)


def _describe_missing(path: str, *, key: str, columns: Mapping[str, object]) -> str:
    where = "" if key == path else f" of {path}"
    return f"no column {key}{where}; there is {_list_names(columns)}"


def _list_names(columns: Mapping[str, object]) -> str:
    names = ", ".join(name for name in columns if not name.startswith("_"))
    shown = names if len(names) <= _SHOWN_CHARACTERS else f"{names[:_SHOWN_CHARACTERS]}..."
    return shown or "nothing"
