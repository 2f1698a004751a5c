"""The files of a pool's source: which match, and their rows by the name below the source's root.

It does not know what a row means. One that is no object is handed on as malformed, never skipped.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from s1ray.row_files import describe_formats, find_format, read_rows

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
                f"the source's files (readable are {describe_formats()}), or remove the source "
                "from pool.sources."
            )
        for match in matches:
            find_format(match)
        found.extend(matches)
    return tuple(dict.fromkeys(found))


def read_file(path: Path, *, root: Path) -> Iterator[RawRow]:
    """Yield a file's rows, reading all but JSON piece by piece.

    Args:
        path: Of the file.
        root: A directory above it, from which rows name their file.

    Raises:
        ValueError: The format is not known, or the file as a whole cannot be read.
    """
    file = path.relative_to(root).as_posix()
    for row in read_rows(path):
        yield RawRow(file=file, number=row.number, content=row.content, error=row.error)
