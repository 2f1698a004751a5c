"""Grades the stored outputs of any system and compares with the verdicts it stored.

Rows in, rows out: each row is written back with ``verdict``, ``layer`` and ``extracted``. This
module does not know which system wrote the rows, and prints nothing.
"""

import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from s1ray.config.grading import GradingConfig
from s1ray.grading.equivalence import Judge
from s1ray.grading.pool import GraderPool
from s1ray.grading.stored_answers import StoredAnswer, StoredAnswers
from s1ray.records import GradedAnswer, Verdict
from s1ray.row_files import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A row whose stored verdict is not ours."""

    row: int
    """Position in the input, from 0."""
    id: str
    stored_correct: bool
    graded: GradedAnswer
    gold: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegradeReport:
    """What a regrading found."""

    num_rows: int
    verdicts: Mapping[str, int]
    layers: Mapping[str, int]
    """How many rows each layer decided; "none" for no answer, a time-out or a bad gold answer."""
    num_compared: int
    """Rows with a stored verdict."""
    disagreements: tuple[Disagreement, ...]

    @property
    def agreement(self) -> float | None:
        """Share of the compared rows whose stored verdict is ours; None where none was stored."""
        if not self.num_compared:
            return None
        return 1 - len(self.disagreements) / self.num_compared


def regrade(
    stored: StoredAnswers,
    *,
    output_path: Path,
    max_pending: int,
    config: GradingConfig,
    judge: Judge | None = None,
) -> RegradeReport:
    """Grade every row of a file and write it back, as JSONL.

    Args:
        stored: As ``read_stored`` found them.
        output_path: Written whole or not at all.
        max_pending: Rows under way at a time.
        config: The grader's rules and processes.
        judge: Asked where no layer found an answer equal.
    """
    output_path.parent.mkdir(parents=True, exist_ok=True)
    items = (answer.item for answer in stored.answers)
    with GraderPool(config, judge=judge) as pool:
        graded = list(pool.grade_all(items, max_pending=max_pending))
    _write(output_path, rows=stored.rows, graded=graded)
    return _compare(stored.answers, graded)


def _compare(stored: Sequence[StoredAnswer], graded: Sequence[GradedAnswer]) -> RegradeReport:
    disagreements = tuple(
        Disagreement(
            row=index,
            id=answer.id,
            stored_correct=answer.was_correct,
            graded=ours,
            gold=answer.item.gold,
        )
        for index, (answer, ours) in enumerate(zip(stored, graded, strict=True))
        if answer.was_correct is not None
        and answer.was_correct is not (ours.verdict is Verdict.CORRECT)
    )
    return RegradeReport(
        num_rows=len(stored),
        verdicts=Counter(answer.verdict.value for answer in graded),
        layers=Counter(answer.layer or "none" for answer in graded),
        num_compared=sum(answer.was_correct is not None for answer in stored),
        disagreements=disagreements,
    )


def describe(report: RegradeReport) -> str:
    """Return a report as text, one line for each disagreement."""
    lines = [
        f"{report.num_rows} rows: {_count(report.verdicts)}",
        f"decided by: {_count(report.layers)}",
    ]
    if report.agreement is not None:
        agreeing = report.num_compared - len(report.disagreements)
        lines.append(
            f"agreement with the stored verdict: {agreeing} of {report.num_compared} "
            f"({100 * report.agreement:.2f} %)"
        )
    for found in report.disagreements:
        stored = "correct" if found.stored_correct else "incorrect"
        layer = f" by {found.graded.layer}" if found.graded.layer else ""
        lines.append(
            f"  row {found.row} ({found.id}): stored {stored}, graded {found.graded.verdict}"
            f"{layer}: extracted {found.graded.extracted!r}, gold {found.gold!r}"
        )
    return "\n".join(lines)


def _write(path: Path, *, rows: Sequence[Row], graded: Sequence[GradedAnswer]) -> None:
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        for part in _pack(_format_rows(rows, graded), is_packed=path.suffix == ".gz"):
            file.write(part)
    unfinished.replace(path)


def _pack(lines: Iterator[str], *, is_packed: bool) -> Iterator[bytes]:
    # mtime=0: equal rows give equal bytes. Members of a gzip file may simply follow one another,
    # and a thousand rows in each keep memory small.
    # A lone surrogate has no UTF-8 form; its backslash form is JSON's own escape for it.
    while chunk := "".join(islice(lines, 1000)).encode("utf-8", "backslashreplace"):
        yield gzip.compress(chunk, mtime=0) if is_packed else chunk


def _format_rows(rows: Sequence[Row], graded: Sequence[GradedAnswer]) -> Iterator[str]:
    for row, answer in zip(rows, graded, strict=True):
        verdict = {
            "verdict": answer.verdict.value,
            "layer": answer.layer,
            "extracted": answer.extracted,
        }
        yield json.dumps({**row, **verdict}, ensure_ascii=False, allow_nan=False) + "\n"


def _count(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items()))
