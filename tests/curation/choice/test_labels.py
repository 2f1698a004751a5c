from pathlib import Path

import pytest

from s1ray.curation.choice.labels import read_labels


def _write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_labels_are_read_by_id(tmp_path: Path) -> None:
    one, other = '{"id": "x", "domain": "05"}', '{"id": "y", "domain": "11"}'

    assert read_labels(_write(tmp_path / "a.jsonl", one, other, one)) == {"x": "05", "y": "11"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": 3}', r"a\.jsonl: row 1 is no label: it needs the texts id and domain"),
        ('{"id": "y", ', r"a\.jsonl: row 1 is no label \(.+\): it needs"),
        ('{"id": "x", "domain": "11"}', r"row 1 labels 'x' as '11', and a row before it as '05'"),
    ],
)
def test_rows_that_are_no_labels_or_contradict_one_are_refused(
    tmp_path: Path, line: str, message: str
) -> None:
    path = _write(tmp_path / "a.jsonl", '{"id": "x", "domain": "05"}', line)

    with pytest.raises(ValueError, match=message):
        read_labels(path)


def test_labels_that_are_not_there_name_the_key(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"diversity\.path=.*b\.jsonl is no file"):
        read_labels(tmp_path / "b.jsonl")
