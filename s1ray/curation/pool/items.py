"""The nouns of curation: a pool's item, a question to protect, and a rejected row.

Nothing here knows where items come from or why one is rejected.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from s1ray.records import ReasoningTrace

Evidence = Mapping[str, str | int | float | list[str] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolItem:
    """One row of a pool, with what curation needs beside the trace itself."""

    trace: ReasoningTrace
    """Where the pool has no teacher, the thinking is the worked solution or empty."""
    source: str
    """Under which the pool declares it. A trace's question names the source it came from long ago,
    which the pool may not know."""
    origin: str
    """Source, file and row, or source and number: where to look the row up. No other row of the
    pool has the same one: the steps know a row by it."""
    level: float | None
    """The source's own grade of difficulty, higher is harder; scales differ between sources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRow:
    """A source's row that never became an item."""

    reason: str
    detail: str
    """What was found; never the row itself."""
    source: str
    origin: str
    is_bad: bool
    """Whether it counts against the source; rows that the source's own filter leaves out do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectedQuestion:
    """A benchmark's question, which no training set may hold."""

    benchmark: str
    item: str
    text: str
    is_private: bool
    """Whether its words stay out of what curation writes down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a step drops an item."""

    name: str
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """One dropped row, for the file that explains every drop."""

    step: str
    reason: str
    id: str | None
    """The question's id; None where the row never became a question."""
    source: str
    origin: str
    evidence: Evidence
