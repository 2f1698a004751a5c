"""Files of lines that a kill, a full disk or a reader at the wrong moment leaves whole."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from s1ray.line_file import LineFile, read_whole_lines

LINES = (b"one", b"", b'{"three": 3}')
WHOLE = b'one\n\n{"three": 3}\n'


def fill(path: Path, *lines: bytes) -> int:
    """Append lines and return the bytes of a torn line that were cut."""
    file = LineFile(path)
    for line in lines:
        file.append(line)
    file.sync()
    file.close()
    return file.num_cut_bytes


def test_lines_know_where_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    fill(path, *LINES)

    assert path.read_bytes() == WHOLE
    lines = list(read_whole_lines(path))
    assert [WHOLE[line.begin : line.end] for line in lines] == [line.content for line in lines]
    assert list(read_whole_lines(path, offset=lines[0].end)) == lines[1:]


def test_cut_at_any_byte_only_the_torn_line_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    for size in range(len(WHOLE) + 1):
        path.write_bytes(WHOLE[:size])
        num_whole = WHOLE[:size].count(b"\n")
        num_torn = size - (WHOLE[:size].rfind(b"\n") + 1)

        assert len(list(read_whole_lines(path))) == num_whole
        assert fill(path, *LINES[num_whole:]) == num_torn
        assert path.read_bytes() == WHOLE


def test_torn_line_longer_than_what_is_read_at_once_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(WHOLE + b"x" * 3_000_000)

    assert fill(path) == 3_000_000
    assert path.read_bytes() == WHOLE


def test_line_that_ctrl_c_tears_is_cut_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = tmp_path / "lines", os.write
    file = LineFile(path)
    file.append(b"one")

    def write_half(descriptor: int, content: memoryview) -> int:
        write(descriptor, content[: len(content) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write_half)
        with pytest.raises(KeyboardInterrupt):
            file.append(b"torn")
    file.append(b"two")
    file.close()

    assert path.read_bytes() == b"one\ntwo\n"


def test_killed_writer_leaves_every_line_it_added(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    script = (
        "import itertools, pathlib, sys\n"
        "from s1ray.line_file import LineFile\n"
        "file = LineFile(pathlib.Path(sys.argv[1]))\n"
        "for number in itertools.count():\n"
        "    file.append(b'%d' % number * 1000)\n"
        "    print(number, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(200)]
        writer.send_signal(signal.SIGKILL)

    fill(path, b"after")
    lines = [line.content[:-1] for line in read_whole_lines(path)]

    assert len(lines) > len(said)
    assert lines == [b"%d" % number * 1000 for number in range(len(lines) - 1)] + [b"after"]


def test_disk_that_takes_half_a_line_keeps_the_lines_before(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    script = (
        "import pathlib, resource, sys\n"
        "from s1ray.line_file import LineFile\n"
        "file = LineFile(pathlib.Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "file.append(b'1234')\n"
        "try:\n"
        "    file.append(b'12345678')\n"
        "except OSError:\n"
        "    file.append(b'5678')\n"
    )
    subprocess.run([sys.executable, "-c", script, path], check=True)

    assert path.read_bytes() == b"1234\n5678\n"
