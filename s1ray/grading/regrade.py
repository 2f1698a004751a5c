"""Grades the stored outputs of any system and compares with the verdicts it stored.

Rows in, rows out: each row is written back with ``verdict``, ``layer`` and ``extracted``. This
module does not know which system wrote the rows, and prints nothing.
"""

import gzip
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from s1ray.config.grade import GradeFields
from s1ray.config.grading import AnswerForm, GradingConfig
from s1ray.grading.equivalence import Judge
from s1ray.grading.extraction import extract_answer
from s1ray.grading.pool import GraderPool, GradingItem
from s1ray.records import AnswerKind, GradedAnswer, Verdict
from s1ray.row_files import Row, read_placed_rows


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredAnswer:
    """What a row says: an answer to grade, and how others graded it."""

    id: str
    item: GradingItem
    was_correct: bool | None
    """None where the row has no verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswers:
    """A file's rows, found good to be graded and written back."""

    rows: Sequence[Row]
    answers: Sequence[_StoredAnswer]
    """Of each row."""


def read_stored(
    input_path: Path,
    *,
    output_path: Path,
    fields: GradeFields,
    answer_kind: AnswerKind,
    forms: Sequence[AnswerForm],
) -> StoredAnswers:
    """Read and check every row of a file; nothing is graded and nothing written.

    Args:
        input_path: JSONL, JSON, CSV (each also .gz) or Parquet.
        output_path: Where the rows are to be written back; must not be the input.
        fields: Where a row holds what.
        answer_kind: Of rows that do not say.
        forms: In which a worked solution states its answer.

    Raises:
        ValueError: The input cannot be read or is the output, the output cannot be written, or a
            row lacks a field, its verdict, or what can be written back.
    """
    _check_paths(input_path, output_path)
    rows = _read_writable_rows(input_path)
    items = [
        _read_item(row, where=_place(index, input_path), fields=fields, kind=answer_kind)
        for index, row in enumerate(rows)
    ]
    _check_verdicts(rows, fields.verdict, file=input_path.name)
    answers = [
        _StoredAnswer(
            id=_read_id(row, fields.id, index=index, where=_place(index, input_path)),
            item=replace(item, gold=_read_gold(item, forms=forms)),
            was_correct=_read_stored(row, fields.verdict, index=index),
        )
        for index, (row, item) in enumerate(zip(rows, items, strict=True))
    ]
    return StoredAnswers(rows=rows, answers=answers)


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


def _check_paths(input_path: Path, output_path: Path) -> None:
    if not input_path.is_file():
        raise ValueError(f"input={input_path} is no file. Give the path of one.")
    if output_path.resolve() == input_path.resolve():
        raise ValueError(f"output={output_path} is the input. Give another output.")
    if output_path.is_dir():
        raise ValueError(f"output={output_path} is a directory. Give the path of a file.")
    above = next(path for path in output_path.absolute().parents if path.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ValueError(
            f"output={output_path} cannot be written: {above} is no directory that can be written "
            "in. Give another output."
        )


def _read_writable_rows(path: Path) -> list[Row]:
    placed = list(read_placed_rows(path))
    for place, row in placed:
        _check_writable(row, where=f"{path.name}: {place}")
    return [row for _, row in placed]


def _check_writable(row: Row, *, where: str) -> None:
    """Refuse what JSON does not have before anything is graded, and a judge paid, for nothing."""
    for name, value in row.items():
        try:
            json.dumps(value, allow_nan=False)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{where}: the field {name!r} cannot be written back as JSON: {error}. Write null "
                "or a text in its place (pandas leaves NaN where a row has no value)."
            ) from error


def _compare(stored: Sequence[_StoredAnswer], graded: Sequence[GradedAnswer]) -> RegradeReport:
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


def _read_item(row: Row, *, where: str, fields: GradeFields, kind: AnswerKind) -> GradingItem:
    text, gold = (
        _spell(_read_field(row, name, where=where)) for name in (fields.text, fields.gold)
    )
    if fields.answer_kind is not None:
        named = _read_field(row, fields.answer_kind, where=where)
        if named not in list(AnswerKind):
            raise ValueError(
                f"{where}: {fields.answer_kind}={named!r} is no answer kind. Legal: "
                f"{', '.join(AnswerKind)}."
            )
        kind = AnswerKind(named)
    return GradingItem(text=text, gold=gold, kind=kind)


def _place(index: int, path: Path) -> str:
    return f"row {index} of {path.name}"


def _check_verdicts(rows: Sequence[Row], name: str | None, *, file: str) -> None:
    """Refuse a comparison with nothing."""
    if rows and name is not None and all(_find(row, name) is _ABSENT for row in rows):
        raise ValueError(
            f"no row of {file} has the field {name!r}, whose verdicts were to be compared; the "
            f"first has {', '.join(sorted(rows[0]))}. Set fields.verdict to the name that the rows "
            "use, or to null to compare with none."
        )


def _read_id(row: Row, name: str | None, *, index: int, where: str) -> str:
    return str(index if name is None else _read_field(row, name, where=where))


def _read_gold(item: GradingItem, *, forms: Sequence[AnswerForm]) -> str:
    """Return the answer that a worked solution states; a plain answer as it is."""
    if item.kind is AnswerKind.TEXT:
        return item.gold
    labelled = [form for form in forms if form != "bare"]
    stated = extract_answer(item.gold, kind=item.kind, forms=labelled, max_bare_characters=1)
    return item.gold if stated is None else stated


def _read_field(row: Row, name: str, *, where: str) -> Any:  # noqa: ANN401 - JSON
    value = _find(row, name)
    if value is _ABSENT:
        raise ValueError(
            f"{where} has no field {name!r}; it has {', '.join(sorted(row))}. Set fields.* to the "
            "names that the rows use; a.b reaches into an object."
        )
    return value


def _find(row: Row, name: str) -> Any:  # noqa: ANN401 - JSON
    if name in row:
        return row[name]
    first, _, rest = name.partition(".")
    inner = row.get(first)
    return _find(inner, rest) if rest and isinstance(inner, Mapping) else _ABSENT


_ABSENT = object()


def _spell(value: Any) -> str:  # noqa: ANN401 - JSON
    return "" if value is None else str(value)


def _read_stored(row: Row, name: str | None, *, index: int) -> bool | None:
    value = None if name is None else _find(row, name)
    if value is None or value is _ABSENT or value == Verdict.UNSCORED:
        return None
    if isinstance(value, bool | int | float):
        return bool(value == 1)
    if value in list(Verdict):
        return bool(value == Verdict.CORRECT)
    raise ValueError(
        f"row {index}: the stored verdict {name}={value!r} cannot be read. Legal: true, false, a "
        f"number (1 is correct), {', '.join(Verdict)}."
    )


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
