"""Files that cannot be read, or not for what their name says they are."""

import gzip
from pathlib import Path

import pytest

from s1ray.curation.pool.files import find_files, read_file


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.parquet.gz",
            gzip.compress(b"PAR1", mtime=0),
            r"its format is '.parquet', and readable are",
        ),
        ("a.parquet", b"no Parquet", r"cannot read .*a\.parquet: .* The file is damaged, or not"),
        ("a.jsonl.gz", b'{"q": 1}\n', r"cannot read .*a\.jsonl\.gz: Not a gzipped file"),
        ("a.json.gz", b"[]", r"cannot read .*a\.json\.gz: Not a gzipped file"),
        (
            "a.jsonl.gz",
            gzip.compress(b'{"q": 1}\n' * 99, mtime=0)[:-9],
            r"jsonl\.gz: Compressed file ended",
        ),
    ],
)
def test_files_that_are_not_what_their_name_says_are_refused_by_name(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(ValueError, match=message):
        list(read_file(path, root=tmp_path))


def test_a_row_too_deep_to_parse_is_malformed_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"[" * 100_000 + b'\n{"q": 1}\n')

    deep, row = read_file(path, root=tmp_path)

    assert deep.content is None
    assert deep.error is not None
    assert row.content == {"q": 1}


def test_a_file_of_no_known_format_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()

    with pytest.raises(ValueError, match=r"its format is '.txt'"):
        find_files(tmp_path, patterns=["*"])
