import gzip
from pathlib import Path

import pytest

from s1ray.row_files import read_placed_rows, read_rows


def test_mark_at_the_beginning_of_a_file_is_no_part_of_it(tmp_path: Path) -> None:
    for name, text in (("a.csv", "q,a\n1,2\n"), ("a.jsonl", '{"q": "1", "a": "2"}\n')):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8-sig")
        assert [row for _, row in read_placed_rows(path)] == [{"q": "1", "a": "2"}]


def test_long_field_and_lines_within_one_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b'q,a\n"' + b"x" * 200_000 + b'\nsecond",2\n'))
    ((place, row),) = read_placed_rows(path)
    assert (place, len(row["q"]), row["a"]) == ("row 0", 200_007, "2")


def test_row_longer_than_its_header_is_malformed_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("q,a\n1,2,3\n4,5\n", encoding="utf-8")
    long, row = read_rows(path)
    assert (long.content, long.error) == (None, "it has more values than the header has columns")
    assert row.content == {"q": "4", "a": "5"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"q\n\xff\n", r"cannot read .*a\.csv: 'utf-8' codec"),
        ("a.csv.gz", b"q\n1\n", r"cannot read .*a\.csv\.gz: Not a gzipped file"),
        (
            "a.jsonl.gz",
            gzip.compress(b'{"q": 1}\n' * 99, mtime=0)[:-9],
            r"cannot read .*Compressed file end",
        ),
        ("a.parquet", b"no Parquet", r"cannot read .*a\.parquet: .* The file is damaged, or not"),
        ("a.jsonl", b'{"a": 1}\n{"secret', r"a\.jsonl: line 2: not JSON: .* column"),
        ("a.jsonl", b"[1]\n", r"line 1: a row must be an object, and this is a list"),
        ("a.json", b'{"secret": 1}', r"must be one JSON array of objects, and is a dict"),
        ("a.json", b"[1]", r"row 0: a row must be an object, and this is a int"),
    ],
)
def test_broken_file_is_refused_without_showing_it(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        list(read_placed_rows(path))
    assert "secret" not in str(caught.value)
