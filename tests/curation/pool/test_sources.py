import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from s1ray.curation.pool.items import PoolItem, RefusedRow
from s1ray.curation.pool.sources import Pool, fingerprint_pool
from s1ray.curation.traces import format_traces
from tests.curation.declared import SUMS, declare, declare_pool
from tests.curation.made import make_item


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def _sums(number: int, *, seed: int) -> dict[str, object]:
    return {
        "kind": "running_sums",
        "origin": "o",
        "licence": "l",
        "num_questions": number,
        "seed": seed,
        "sums": SUMS,
    }


def _rows(number: int) -> list[dict[str, object]]:
    return [
        {"q": f"question {n}", "a": str(n), "d": "big" if n % 4 else "small"} for n in range(number)
    ]


def test_a_pool_can_be_read_again_and_again(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", _rows(5))
    pool = Pool(declare_pool(str(tmp_path)))

    assert list(pool) == list(pool)
    assert len(list(pool)) == 5


def test_a_pool_reads_the_files_it_found_wherever_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
    _write(tmp_path / "here" / "a.jsonl", _rows(3))
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(Pool(declare_pool("here")))

    monkeypatch.chdir(tmp_path / "elsewhere")

    rows = list(pickle.loads(sent))
    assert [row.origin for row in rows] == ["mine:a.jsonl:0", "mine:a.jsonl:1", "mine:a.jsonl:2"]


def test_a_pool_mixes_generators_and_files_in_order(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", _rows(2))
    sources = {"few": _sums(3, seed=1), "mine": declare(), "more": _sums(4, seed=2)}

    items = list(Pool(declare_pool(str(tmp_path), sources=sources)))

    expected = ["few"] * 3 + ["mine"] * 2 + ["more"] * 4
    assert [row.source for row in items] == expected
    assert [row.trace.question.source for row in items if isinstance(row, PoolItem)] == expected


def test_the_name_of_a_generator_in_the_pool_changes_nothing_but_the_source() -> None:
    one, other = (
        [
            row.trace
            for row in Pool(declare_pool(None, sources={name: _sums(9, seed=1)}))
            if isinstance(row, PoolItem)
        ]
        for name in ("running_sums", "sums")
    )

    renamed = [replace(trace, question=replace(trace.question, source="sums")) for trace in one]
    assert other == renamed
    assert {trace.question.source for trace in one} == {"running_sums"}


def test_too_many_bad_rows_stop_a_source_and_are_counted(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", [*_rows(18), {"q": "x"}, {"q": "", "a": "1"}])

    borne = list(Pool(declare_pool(str(tmp_path), max_bad_fraction=0.1)))
    with pytest.raises(
        ValueError,
        match=r"2 of 20 rows of source mine are bad \(missing_column 1, empty_question 1",
    ):
        list(Pool(declare_pool(str(tmp_path), max_bad_fraction=0.09)))

    assert sum(isinstance(row, RefusedRow) for row in borne) == 2


def test_rows_left_out_by_the_filter_do_not_count_as_bad(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", _rows(8))
    keep = ({"column": "d", "operator": "one_of", "values": ("small",)},)

    rows = list(Pool(declare_pool(str(tmp_path), sources={"mine": declare(keep=keep)})))

    assert sum(isinstance(row, PoolItem) for row in rows) == 2


def test_a_filter_that_leaves_no_row_is_refused_with_what_the_first_holds(tmp_path: Path) -> None:
    rows = [{**row, "rank": "5"} for row in _rows(3)]
    _write(tmp_path / "a.jsonl", rows)
    keep = ({"column": "rank", "operator": "one_of", "values": (5,)},)

    pool = Pool(declare_pool(str(tmp_path), sources={"mine": declare(keep=keep)}))

    with pytest.raises(
        ValueError, match=r"sources\.mine\.keep leaves none of 3 rows; .*column rank: '5'"
    ):
        list(pool)


@pytest.mark.parametrize(("is_even", "expected"), [(True, {"small": 5, "big": 5}), (False, None)])
def test_a_sample_is_fixed_and_even_over_domains_where_asked(
    tmp_path: Path, *, is_even: bool, expected: dict[str, int] | None
) -> None:
    rows = _rows(200)
    sample = {"num_rows": 10, "seed": 3, "is_even_over_domains": is_even}
    source = declare(columns={"domain": "{d}"}, sample=sample)
    chosen = []
    for order in (rows, rows[::-1]):
        _write(tmp_path / "a.jsonl", order)
        pool = Pool(declare_pool(str(tmp_path), sources={"mine": source}))
        questions = [row.trace.question for row in pool if isinstance(row, PoolItem)]
        chosen.append(sorted(question.text for question in questions))
        domains = [question.domain for question in questions]

    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 10
    assert expected is None or {name: domains.count(name) for name in expected} == expected


def test_a_sample_has_its_size_where_files_of_two_directories_have_one_name(
    tmp_path: Path,
) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        _write(tmp_path / name / "train.jsonl", [{"q": f"{name} {n}", "a": "1"} for n in range(20)])
    sample = {"num_rows": 8, "seed": 3, "is_even_over_domains": False}
    source = declare(files=("*/train.jsonl",), sample=sample)

    rows = list(Pool(declare_pool(str(tmp_path), sources={"mine": source})))

    assert sum(isinstance(row, PoolItem) for row in rows) == 8
    assert len({row.origin for row in rows}) == 40


def test_the_fingerprint_follows_the_files_content(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", _rows(3))
    first = fingerprint_pool(declare_pool(str(tmp_path)))

    _write(tmp_path / "a.jsonl", _rows(4))

    assert set(first) == {"mine"}
    assert fingerprint_pool(declare_pool(str(tmp_path))) != first


def test_a_source_without_files_or_hub_is_refused_before_reading(tmp_path: Path) -> None:
    no_files = {"mine": declare(files=())}

    with pytest.raises(ValueError, match=r"pool.sources.mine names no files, and pool.root="):
        Pool(declare_pool(str(tmp_path), sources=no_files))
    with pytest.raises(ValueError, match=r"pool.sources.mine is not on the hub"):
        Pool(declare_pool(None))


def test_a_hub_source_that_cannot_be_fetched_is_named_with_the_fix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise ConnectionError("offline")

    monkeypatch.setattr("s1ray.curation.pool.sources.snapshot_download", fail)
    hub = {"repository": "o/r", "revision": "main", "files": ("*.jsonl",)}

    with pytest.raises(ValueError, match=r"pool.sources.mine: o/r@main could not be fetched"):
        Pool(declare_pool(None, sources={"mine": declare(hub=hub)}))


def test_a_hub_source_is_read_from_its_local_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path / "a.jsonl", _rows(3))
    asked = []

    def copy(repository: str, **options: object) -> str:
        asked.append((repository, options))
        return str(tmp_path)

    monkeypatch.setattr("s1ray.curation.pool.sources.snapshot_download", copy)
    hub = {"repository": "o/r", "revision": "main", "files": ("*.jsonl",)}

    rows = list(Pool(declare_pool(None, sources={"mine": declare(hub=hub)})))

    assert len(rows) == 3
    assert asked == [
        ("o/r", {"repo_type": "dataset", "revision": "main", "allow_patterns": ["*.jsonl"]})
    ]


def test_a_hub_source_without_a_file_that_matches_names_what_to_correct(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "s1ray.curation.pool.sources.snapshot_download", lambda *_, **__: str(tmp_path)
    )
    hub = {"repository": "o/r", "revision": "main", "files": ("*.jsonl",)}

    with pytest.raises(ValueError, match=r"o/r@main .*Correct pool\.sources\.mine\.hub\.files"):
        Pool(declare_pool(None, sources={"mine": declare(hub=hub)}))


def test_traces_are_read_as_they_were_written_and_malformed_ones_refused(tmp_path: Path) -> None:
    trace = make_item("What is 1 + 1?", source="other", domain="sums", is_correct=False).trace
    lines = [
        format_traces([trace]),
        '{"question": 1}\n',
        "not json\n",
        format_traces([make_item("see ![a figure]").trace]),
        format_traces([make_item("y" * 101).trace]),
    ]
    (tmp_path / "traces.jsonl").write_text("".join(lines), encoding="utf-8")
    source = {"kind": "traces", "origin": "us", "licence": "none", "files": ["traces.jsonl"]}
    config = declare_pool(str(tmp_path), sources={"mine": source}, max_bad_fraction=1.0)

    first, *refused = Pool(config)

    assert isinstance(first, PoolItem)
    assert first.trace == trace
    assert (first.source, first.trace.question.source) == ("mine", "other")
    assert [row.reason for row in refused if isinstance(row, RefusedRow)] == [
        "malformed", "malformed", "image", "over_long",
    ]  # fmt: skip
    assert list(fingerprint_pool(config)) == ["mine"]
