"""Rows of JSONL, JSON, CSV and Parquet files, one by one; all but Parquet may be gzipped.

It knows file formats, not what a row means. A row that is no object is handed on as malformed,
never skipped. Messages name places and no content: some files are private.
"""

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

Row = Mapping[str, Any]


class FileRow(NamedTuple):
    """One row with its place."""

    number: int
    """Of the line, or of the row in formats without lines; counted from 0."""
    place: str
    """Such as "line 3", counted from 1 as editors do, or "row 0"."""
    content: Row | None
    """None where the row is malformed."""
    error: str | None


class PlacedRow(NamedTuple):
    """A row that is an object, and where its file has it."""

    place: str
    row: Row


def find_format(path: Path) -> str:
    """Return a file's format, as its name says: one of those that can be read.

    Raises:
        ValueError: It is none of them.
    """
    is_packed = path.suffix == ".gz"
    suffix = Path(path.stem).suffix if is_packed else path.suffix
    if suffix in _READERS and not (is_packed and suffix == ".parquet"):
        return suffix
    raise ValueError(
        f"cannot read {path}: its format is {suffix or 'not named'!r}, and readable are "
        f"{describe_formats()}. Convert it, or name another file."
    )


def describe_formats() -> str:
    """Return the endings of files that can be read."""
    return f"{', '.join(_READERS)} (all but Parquet also with .gz)"


def read_rows(path: Path) -> Iterator[FileRow]:
    """Yield a file's rows, reading all but JSON piece by piece.

    Raises:
        ValueError: The format is not known, or the file as a whole cannot be read.
    """
    read = _READERS[find_format(path)]
    try:
        yield from read(path)
    except (OSError, EOFError, zlib.error, csv.Error, UnicodeDecodeError) as error:
        raise _refuse(path, error) from error


def read_placed_rows(path: Path) -> Iterator[PlacedRow]:
    """Yield a file's rows, every one of which must be an object.

    Raises:
        ValueError: As ``read_rows``, or a row is malformed.
    """
    for row in read_rows(path):
        if row.content is None:
            raise ValueError(f"{path.name}: {row.place}: {row.error}. Correct or remove it.")
        yield PlacedRow(row.place, row.content)


def _refuse(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"cannot read {path}: {error}. The file is damaged, or not what its name says; make or "
        "fetch it again, or name another."
    )


def _open(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb"))


def _read_jsonl(path: Path) -> Iterator[FileRow]:
    with _open(path) as stream:
        # Bytes are split at b"\n" alone; text lines would also end at U+2028 and the like.
        for number, line in enumerate(stream):
            if line.strip():
                yield _parse(number, line)


def _parse(number: int, line: bytes) -> FileRow:
    place = f"line {number + 1}"
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        return FileRow(number, place, None, f"not JSON: {error}")
    return _check(number, place, content)


def _check(number: int, place: str, content: object) -> FileRow:
    if isinstance(content, dict):
        return FileRow(number, place, content, None)
    error = f"a row must be an object, and this is a {type(content).__name__}"
    return FileRow(number, place, None, error)


def _number(rows: Iterable[object]) -> Iterator[FileRow]:
    return (_check(number, f"row {number}", row) for number, row in enumerate(rows))


def _read_json(path: Path) -> Iterator[FileRow]:
    with _open(path) as stream:
        try:
            content = json.load(stream)
        except (ValueError, RecursionError) as error:
            # The decoder's own error carries the text.
            raise ValueError(f"cannot read {path}: {error}. It must be one JSON array.") from None
    if not isinstance(content, list):
        raise ValueError(
            f"cannot read {path}: it must be one JSON array of objects, and is a "
            f"{type(content).__name__}. Name the file .jsonl if it has one object a line."
        )
    yield from _number(content)


def _read_csv(path: Path) -> Iterator[FileRow]:
    csv.field_size_limit(sys.maxsize)
    # utf-8-sig: Excel begins its files with a mark, which is no part of the first column's name.
    with io.TextIOWrapper(_open(path), encoding="utf-8-sig", newline="") as stream:
        for row in _number(csv.DictReader(stream)):
            if row.content is not None and None in row.content:
                error = "it has more values than the header has columns"
                yield FileRow(row.number, row.place, None, error)
            else:
                yield row


def _read_parquet(path: Path) -> Iterator[FileRow]:
    import pyarrow as pa  # noqa: PLC0415 - heavy, and for this format only
    from pyarrow import parquet  # noqa: PLC0415 - as above

    try:
        batches = parquet.ParquetFile(path).iter_batches()
        yield from _number(row for batch in batches for row in batch.to_pylist())
    except pa.ArrowException as error:
        raise _refuse(path, error) from error


_READERS: dict[str, Callable[[Path], Iterator[FileRow]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
