"""Mistakes of whoever declares a source: what is refused, and how it is said."""

from pathlib import Path

import pytest

from s1ray.curation.pool.sources import Pool
from tests.curation.declared import declare, declare_pool


def _write(root: Path) -> None:
    rows = [f'{{"q": "question {number}", "a": "{number}"}}\n' for number in range(3)]
    (root / "a.jsonl").write_text("".join(rows))


def test_the_first_bad_row_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    _write(tmp_path)
    sources = {"mine": declare(columns={"solution": "{s}"})}

    with pytest.raises(
        ValueError,
        match=r"3 of 3 rows of source mine are bad \(missing_column 3; the first, mine:a.jsonl:0: "
        r"no column s; there is q, a\).*Correct pool.sources.mine.columns \(null where",
    ):
        list(Pool(declare_pool(str(tmp_path), sources=sources)))


def test_files_that_are_not_there_are_missed_by_name_of_their_source(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pool.sources.mine: no file .*readable are .jsonl"):
        Pool(declare_pool(str(tmp_path)))


def test_too_many_bad_traces_are_not_blamed_on_columns(tmp_path: Path) -> None:
    _write(tmp_path)
    traces = {"kind": "traces", "origin": "o", "licence": "l", "files": ("a.jsonl",)}
    pool = Pool(declare_pool(str(tmp_path), sources={"mine": traces}))

    with pytest.raises(
        ValueError, match=r"3 of 3 rows.*mine:a.jsonl:0: question: .*Clean the files"
    ):
        list(pool)


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": {"question": "q"}},
        {"columns": {"question": ""}},
        {"columns": {"answer": "a"}},
        {"trace": {"thinking": "t", "answer": "{a}", "teacher": "T", "correct": None}},
    ],
)
def test_a_template_that_names_no_column_is_refused_before_reading(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    _write(tmp_path)
    sources = {"mine": declare(**changes)}  # type: ignore[arg-type]

    with pytest.raises(ValueError, match=r"names no column.*pool\.sources\.mine\..*='\"\{"):
        Pool(declare_pool(str(tmp_path), sources=sources))


def test_a_home_directory_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "pool").mkdir()
    _write(tmp_path / "pool")

    assert len(list(Pool(declare_pool("~/pool")))) == 3
