"""Whether two runs were done the same way, so that their difference means something.

A protocol is a nested mapping of settings, such as a run's identity. Everything in it counts unless
it is named: a setting nobody thought of is refused, not overlooked.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolDifference:
    """A setting that two runs do not share."""

    path: str
    """Dotted."""
    a: str
    """The value as JSON, or "absent"."""
    b: str


def find_differences(
    a: Mapping[str, object], b: Mapping[str, object]
) -> tuple[ProtocolDifference, ...]:
    """Return the settings in which two protocols differ, by path."""
    flat_a, flat_b = dict(_flatten(a, prefix="")), dict(_flatten(b, prefix=""))
    return tuple(
        ProtocolDifference(path=path, a=flat_a.get(path, "absent"), b=flat_b.get(path, "absent"))
        for path in sorted(flat_a.keys() | flat_b.keys())
        if flat_a.get(path, "absent") != flat_b.get(path, "absent")
    )


def _flatten(settings: Mapping[str, object], *, prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, prefix=f"{path}.")
        else:
            yield path, json.dumps(value, ensure_ascii=False, sort_keys=True)


def check_differences(
    differences: Collection[ProtocolDifference],
    *,
    subject: Collection[str],
    allow: Collection[str],
) -> tuple[ProtocolDifference, ...]:
    """Return the differences that were named, to be shown beside the result.

    Args:
        differences: As ``find_differences`` returns them.
        subject: Dotted paths, or the beginnings of paths, that comparisons are about.
        allow: Further ones, named for this comparison.

    Raises:
        ValueError: A difference is neither of the two.
    """
    refused = [
        difference
        for difference in differences
        if not any(_covers(path, difference.path) for path in (*subject, *allow))
    ]
    if refused:
        listed = "; ".join(f"{found.path}: {found.a} against {found.b}" for found in refused)
        paths = ",".join(found.path for found in refused)
        raise ValueError(
            f"the runs differ in their protocol, not only in {', '.join(sorted(subject))}: "
            f"{listed}. Compare runs of one protocol, or name the difference: allow=[{paths}]."
        )
    return tuple(differences)


def _covers(named: str, path: str) -> bool:
    return path == named or path.startswith(f"{named}.")
