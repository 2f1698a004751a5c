import gzip
import json
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from s1ray.curation.pool.files import find_files, read_file

ROWS = [{"q": "one\u2028line", "n": 1}, {"q": "two", "n": None}]


def _write(path: Path, content: bytes) -> Path:
    data = gzip.compress(content) if path.suffix == ".gz" else content
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_jsonl_is_split_at_newlines_alone(tmp_path: Path, name: str) -> None:
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n\n"

    rows = list(read_file(_write(tmp_path / name, text.encode()), root=tmp_path))

    assert [row.content for row in rows] == ROWS
    assert [row.number for row in rows] == [0, 1]


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_json_array_gives_its_rows(tmp_path: Path, name: str) -> None:
    rows = list(read_file(_write(tmp_path / name, json.dumps(ROWS).encode()), root=tmp_path))

    assert [row.content for row in rows] == ROWS


def test_parquet_gives_its_rows(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")

    rows = list(read_file(tmp_path / "a.parquet", root=tmp_path))

    assert [row.content for row in rows] == ROWS


def test_jsonl_hands_broken_lines_on_as_malformed(tmp_path: Path) -> None:
    content = b'{"q": 1}\n{"q": \n[1, 2]\n"\xff"\n'

    rows = list(read_file(_write(tmp_path / "a.jsonl", content), root=tmp_path))

    assert [row.content for row in rows] == [{"q": 1}, None, None, None]
    assert [row.error is None for row in rows] == [True, False, False, False]
    assert rows[2].error == "a row must be an object, and this is a list"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'{"q": 1}', r"must be one JSON array of objects, and is a dict"),
        ("a.json", b"[1,", r"It must be one JSON array"),
        ("a.txt", b"q\n1\n", r"its format is '.txt', and readable are .jsonl, .json, .csv, .parq"),
    ],
)
def test_unreadable_files_are_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        list(read_file(_write(tmp_path / name, content), root=tmp_path))


def test_files_are_found_pattern_by_pattern(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "c.json"):
        (tmp_path / name).touch()

    found = find_files(tmp_path, patterns=["c.json", "*.jsonl"])

    assert [path.name for path in found] == ["c.json", "a.jsonl", "b.jsonl"]


def test_a_file_that_several_patterns_match_is_found_once(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).touch()

    found = find_files(tmp_path, patterns=["b.jsonl", "*.jsonl"])

    assert [path.name for path in found] == ["b.jsonl", "a.jsonl"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet"])
def test_rows_name_their_file_from_the_root(tmp_path: Path, name: str) -> None:
    path = tmp_path / "deep" / name
    path.parent.mkdir()
    if name == "a.parquet":
        parquet.write_table(pyarrow.Table.from_pylist(ROWS[:1]), path)
    else:
        path.write_text(json.dumps(ROWS[0] if name == "a.jsonl" else ROWS[:1]))

    (row,) = read_file(path, root=tmp_path)

    assert row.file == f"deep/{name}"


def test_missing_files_and_directories_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file below pool.root=.* matches 'x\*.json'"):
        find_files(tmp_path, patterns=["x*.json"])
    with pytest.raises(ValueError, match=r"pool.root=.*nowhere is not a directory"):
        find_files(tmp_path / "nowhere", patterns=["x"])


@pytest.mark.parametrize("pattern", ["../secret.jsonl", "a/../../secret.jsonl", "/etc/passwd"])
def test_a_pattern_that_leads_out_of_the_root_is_refused(tmp_path: Path, pattern: str) -> None:
    root = tmp_path / "pool"
    (root / "a").mkdir(parents=True)
    (tmp_path / "secret.jsonl").write_text("{}\n", encoding="utf-8")

    with pytest.raises(ValueError, match=r"leads out of pool\.root"):
        find_files(root, patterns=[pattern])
