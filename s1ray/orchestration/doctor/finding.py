"""What an examination says: one verdict a line."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    """The run works, but slower, or with less to show."""
    FAIL = "FAIL"
    """The run would fail, or somebody could harm it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the examination."""

    check: str
    verdict: Verdict
    found: str
    fix: str
    """Empty where nothing is wrong."""


def pass_check(check: str, found: str) -> Finding:
    """Return that a check found nothing wrong."""
    return Finding(check=check, verdict=Verdict.OK, found=found, fix="")


def warn_check(check: str, found: str, *, fix: str) -> Finding:
    """Return that a check found something to mend some day."""
    return Finding(check=check, verdict=Verdict.WARN, found=found, fix=fix)


def fail_check(check: str, found: str, *, fix: str) -> Finding:
    """Return that a check found something to mend before a run."""
    return Finding(check=check, verdict=Verdict.FAIL, found=found, fix=fix)
