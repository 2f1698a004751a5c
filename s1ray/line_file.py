"""Append-only files of lines: each line whole after a kill at any instant.

What follows the last newline is no line: a kill in the middle of a write left it there. Readers
leave it out, also while somebody writes; a writer cuts it off before it appends. A file has one
writer at a time, whoever sees to that. Nothing here knows what a line says.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_CHUNK_BYTES = 1 << 20


class Line(NamedTuple):
    """A whole line and where it stands."""

    begin: int
    """Offset of its first byte in the file."""
    end: int
    """Offset behind its newline."""
    content: bytes
    """The newline included."""


class LineFile:
    """The writer of a file: a line is the kernel's, and survives the process, once it is added."""

    def __init__(self, path: Path) -> None:
        """Open a file, or begin it in a folder that exists; a torn last line is cut off."""
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        size = os.fstat(self._file).st_size
        self.size = _find_last_line_end(self._file, size=size)
        """Bytes of the file, all of whole lines."""
        self.num_cut_bytes = size - self.size
        """Of the torn line that was found; 0 where there was none."""
        if self.num_cut_bytes:
            os.ftruncate(self._file, self.size)

    def append(self, content: bytes) -> None:
        """Add a line; the newline is put behind it.

        Raises:
            OSError: The disk did not take it; the file then ends with the line before, as after
                Ctrl-C in the middle of it.
        """
        left = memoryview(content + b"\n")
        size = self.size + len(left)
        try:
            while left:
                left = left[os.write(self._file, left) :]
            self.size = size
        except BaseException:
            os.ftruncate(self._file, self.size)
            raise

    def sync(self) -> None:
        """Make every line durable against a failure of the machine."""
        os.fsync(self._file)

    def close(self) -> None:
        """Let go of the file, durable or not."""
        os.close(self._file)


def read_whole_lines(path: Path, *, offset: int = 0) -> Iterator[Line]:
    """Yield a file's whole lines from a byte offset on, at which a line begins.

    Raises:
        FileNotFoundError: There is no file.
    """
    with path.open("rb") as file:
        file.seek(offset)
        for content in file:
            if not content.endswith(b"\n"):
                return
            line = Line(begin=offset, end=offset + len(content), content=content)
            yield line
            offset = line.end


def _find_last_line_end(file: int, *, size: int) -> int:
    """Return the offset behind the last newline, 0 where there is none."""
    end = size
    while end > 0:
        start = max(0, end - _CHUNK_BYTES)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
