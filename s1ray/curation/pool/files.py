"""Rows of JSON, JSONL and Parquet files, one by one.

It knows file formats, not what a row means. A line that is no JSON object is handed on as
malformed, never skipped.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
from pyarrow import parquet

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFiles:
    """The files of one source, in the order they are read."""

    root: Path
    """Above all of them; what a row is called holds only what follows it. Absolute, so that another
    process finds the same files."""
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRow:
    """One row with its place."""

    file: str
    """Path below the source's root, parts joined by "/"."""
    number: int
    """Counted from 0."""
    content: Row | None
    """None where the row is malformed."""
    error: str | None


def find_files(root: Path, *, patterns: Iterable[str]) -> tuple[Path, ...]:
    """Return the files below a directory that match, pattern by pattern, sorted within one.

    A file that several patterns match stands where the first of them does, and only there.

    Raises:
        ValueError: The directory is missing, a pattern matches nothing or leads out of it, or a
            file's format is not known.
    """
    if not root.is_dir():
        raise ValueError(
            f"pool.root={root} is not a directory. Set pool.root to the directory that holds the "
            "sources' files, or pool.root=null to fetch them from the hub."
        )
    found: list[Path] = []
    for pattern in patterns:
        if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            raise ValueError(
                f"{pattern!r} leads out of pool.root={root}. Name files below it, or set pool.root "
                "to a directory that holds them all."
            )
        matches = sorted(path for path in root.glob(pattern) if path.is_file())
        if not matches:
            raise ValueError(
                f"no file below pool.root={root} matches {pattern!r}. Put the file there, correct "
                f"the source's files (readable are {', '.join(_READERS)}, JSON also with .gz), or "
                "remove the source from pool.sources."
            )
        for match in matches:
            find_format(match)
        found.extend(matches)
    return tuple(dict.fromkeys(found))


def read_file(path: Path, *, root: Path) -> Iterator[RawRow]:
    """Yield a file's rows, reading JSONL and Parquet piece by piece.

    Args:
        path: Of the file.
        root: A directory above it, from which rows name their file.

    Raises:
        ValueError: The format is not known, or the file as a whole cannot be read.
    """
    read = _READERS[find_format(path)]
    try:
        yield from read(path, path.relative_to(root).as_posix())
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise ValueError(
            f"cannot read {path}: {error}. The file is damaged, or not what its name says; make or "
            "fetch it again, or take it out of the source's files."
        ) from error


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
        f"{', '.join(_READERS)} (JSON also with .gz). Convert it, or correct the source's files."
    )


def _open(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb"))


def _read_jsonl(path: Path, file: str) -> Iterator[RawRow]:
    with _open(path) as stream:
        # Bytes are split at b"\n" alone; text lines would also end at U+2028 and the like.
        for number, line in enumerate(stream):
            if line.strip():
                yield _parse(file, number, line)


def _parse(file: str, number: int, line: bytes) -> RawRow:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        return RawRow(file=file, number=number, content=None, error=str(error))
    return _check(file, number, content)


def _check(file: str, number: int, content: object) -> RawRow:
    if isinstance(content, dict):
        return RawRow(file=file, number=number, content=content, error=None)
    error = f"a row must be an object, and this is a {type(content).__name__}"
    return RawRow(file=file, number=number, content=None, error=error)


def _read_json(path: Path, file: str) -> Iterator[RawRow]:
    with _open(path) as stream:
        try:
            content = json.load(stream)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"cannot read {path}: {error}. It must be one JSON array.") from error
    if not isinstance(content, list):
        raise ValueError(
            f"cannot read {path}: it must be one JSON array of objects, and is a "
            f"{type(content).__name__}. Name the file .jsonl if it has one object a line."
        )
    for number, row in enumerate(content):
        yield _check(file, number, row)


def _read_parquet(path: Path, file: str) -> Iterator[RawRow]:
    number = 0
    for batch in parquet.ParquetFile(path).iter_batches():
        for row in batch.to_pylist():
            yield RawRow(file=file, number=number, content=row, error=None)
            number += 1


_READERS: dict[str, Callable[[Path, str], Iterator[RawRow]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
