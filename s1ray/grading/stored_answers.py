"""The stored outputs of any system, read from a file and checked row by row before any is graded.

It knows which field holds what, not how an answer is graded.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from s1ray.config.grade import GradeFields
from s1ray.config.grading import AnswerForm
from s1ray.grading.extraction import extract_answer
from s1ray.grading.pool import GradingItem
from s1ray.records import AnswerKind, Verdict
from s1ray.row_files import Row, read_placed_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """What a row says: an answer to grade, and how others graded it."""

    id: str
    item: GradingItem
    was_correct: bool | None
    """None where the row has no verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswers:
    """A file's rows, found good to be graded and written back."""

    rows: Sequence[Row]
    answers: Sequence[StoredAnswer]
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
        StoredAnswer(
            id=_read_id(row, fields.id, index=index, where=_place(index, input_path)),
            item=replace(item, gold=_read_gold(item, forms=forms)),
            was_correct=_read_stored(row, fields.verdict, index=index),
        )
        for index, (row, item) in enumerate(zip(rows, items, strict=True))
    ]
    return StoredAnswers(rows=rows, answers=answers)


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
