"""The sample store: what a kill, a full disk or a second writer can leave behind."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from s1ray.evaluation.samples import EvaluatedSample, Score
from s1ray.evaluation.store import SAMPLES, read_samples, read_scores, write_samples
from tests.evaluation.any_samples import ANY_SAMPLE
from tests.evaluation.builders import (
    Clock,
    make_completion,
    make_group,
    make_sample,
    make_samples,
    open_store,
)
from tests.fakes import full_disk


def fill(path: Path, samples: list[EvaluatedSample]) -> None:
    with open_store(path) as store:
        for sample in samples:
            assert store.append(sample)


def test_store_makes_its_folder_and_reads_back_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "evaluate" / "run" / SAMPLES
    samples = make_samples("RWR")

    fill(path, samples)

    assert list(read_samples(path)) == samples


def test_store_scores_are_the_numbers_of_its_samples(tmp_path: Path) -> None:
    forced = make_completion(thinking_ids=(1, 2), answer_ids=(), is_answer_forced=True)
    fill(tmp_path / SAMPLES, [make_sample("1", completion=forced)])

    (score,) = read_scores(tmp_path / SAMPLES)

    assert score == Score(
        task=make_sample("1").task,
        graded=make_sample("1").graded,
        num_thinking_tokens=2,
        num_generated_tokens=4,
        is_answer_forced=True,
    )


def test_store_row_is_in_the_file_when_append_returns(tmp_path: Path) -> None:
    path = tmp_path / SAMPLES
    store = open_store(path, sync_rows=1000, sync_seconds=1000.0)

    store.append(make_sample("1"))

    assert [sample.task.item for sample in read_samples(path)] == ["1"]
    store.close()


def test_store_cut_at_any_byte_loses_at_most_the_row_being_written(tmp_path: Path) -> None:
    path = tmp_path / SAMPLES
    samples = make_samples("RW")
    fill(path, samples)
    whole = path.read_bytes()
    for size in (0, 1, *range(whole.index(b"\n"), len(whole) + 1)):
        path.write_bytes(whole[:size])
        num_whole = whole[:size].count(b"\n")

        assert list(read_samples(path)) == samples[:num_whole]
        with open_store(path) as store:
            assert len(store) == num_whole
            appended = [store.append(sample) for sample in samples]
        assert appended == [False] * num_whole + [True] * (2 - num_whole)
        assert path.read_bytes() == whole


def test_store_long_torn_row_is_cut(tmp_path: Path) -> None:
    path = tmp_path / SAMPLES
    fill(path, make_samples("R"))
    whole = path.read_bytes()
    path.write_bytes(whole + b"x" * 3_000_000)

    open_store(path).close()

    assert path.read_bytes() == whole


def test_store_same_sample_is_written_once_also_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / SAMPLES
    sample = make_sample("1")
    with open_store(path) as store:
        assert [store.append(sample), store.append(sample)] == [True, False]
    with open_store(path) as store:
        assert not store.append(sample)
        assert sample.task in store

    assert path.read_bytes().count(b"\n") == 1


def test_store_tells_samples_apart_by_every_part_of_their_name(tmp_path: Path) -> None:
    named = [
        make_sample("1"),
        make_sample("2"),
        make_sample("1", sample=1),
        make_sample("1", policy="q"),
        make_sample("1", benchmark="other"),
        make_sample("1", model="other"),
    ]

    fill(tmp_path / SAMPLES, named)

    assert len(list(read_samples(tmp_path / SAMPLES))) == 6


def test_missing_groups_are_reduced_to_the_policies_without_a_row(tmp_path: Path) -> None:
    groups = [make_group(item, policies=("p", "q", "r")) for item in ("1", "2", "3")]
    with open_store(tmp_path / SAMPLES) as store:
        for item, policy in (("1", "q"), ("2", "p"), ("2", "q"), ("2", "r")):
            sample = make_sample(item, policy=policy)
            store.append(sample)
        missing = store.missing(groups)

    assert [(group.question.id, group.policies) for group in missing] == [
        ("1", ("p", "r")),
        ("3", ("p", "q", "r")),
    ]


def test_store_rows_become_durable_by_number_and_by_age(tmp_path: Path) -> None:
    clock = Clock()
    store = open_store(tmp_path / SAMPLES, sync_rows=3, sync_seconds=10.0, clock=clock)
    waiting = []
    for item in ("1", "2", "3", "4"):
        store.append(make_sample(item))
        waiting.append(store.num_unsynced_rows)
    clock.now += 9.9
    store.sync_if_due()
    waiting.append(store.num_unsynced_rows)
    clock.now += 0.1
    store.sync_if_due()
    waiting.append(store.num_unsynced_rows)
    store.close()

    assert waiting == [1, 2, 0, 1, 1, 0]


def test_store_disk_that_takes_half_a_row_keeps_the_file_whole(tmp_path: Path) -> None:
    path = tmp_path / SAMPLES
    first, second = make_samples("RW")
    store = open_store(path)
    store.append(first)
    size = path.stat().st_size

    with full_disk(limit_bytes=size + 100), pytest.raises(OSError, match="too large"):
        store.append(second)

    assert path.stat().st_size == size
    assert second.task not in store
    assert store.append(second)
    store.close()
    assert list(read_samples(path)) == [first, second]


def test_store_row_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / SAMPLES
    fill(path, make_samples("RW"))
    first = path.read_bytes().split(b"\n")[0]
    path.write_bytes(path.read_bytes() + first + b"\n")

    with pytest.raises(ValueError, match=r":3 repeats the sample of line 1 .* Remove one"):
        open_store(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"not json", "is unreadable"),
        (b"\x00\x00\x00", "is unreadable"),
        (b"[1, 2]", "is unreadable"),
        (b'{"benchmark": "bench"}', "lacks the field 'item'"),
    ],
)
def test_store_unreadable_row_is_named_with_its_line(
    tmp_path: Path, line: bytes, message: str
) -> None:
    path = tmp_path / SAMPLES
    fill(path, make_samples("R"))
    path.write_bytes(path.read_bytes() + line + b"\n")

    with pytest.raises(ValueError, match=f":2 {message}.*remove the line"):
        open_store(path)


def test_read_samples_row_with_a_field_missing_or_unknown_verdict_is_named(tmp_path: Path) -> None:
    path = tmp_path / SAMPLES
    fill(path, make_samples("R"))
    row = json.loads(path.read_bytes())
    for change, message in (
        ({"verdict": "maybe"}, "is unreadable: 'maybe' is not a valid Verdict"),
        ({"thinking_ids": None}, "is unreadable"),
    ):
        path.write_text(json.dumps(row | change) + "\n")
        with pytest.raises(ValueError, match=f":1 {message}"):
            list(read_samples(path))
    del row["answer_ids"]
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(ValueError, match=":1 lacks the field 'answer_ids'"):
        list(read_samples(path))


@given(sample=ANY_SAMPLE)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_store_any_text_is_one_line_and_reads_back(tmp_path: Path, sample: EvaluatedSample) -> None:
    path = tmp_path / SAMPLES
    path.unlink(missing_ok=True)

    fill(path, [sample])

    content = path.read_bytes()
    assert content.count(b"\n") == 1
    content.decode("utf-8")
    assert list(read_samples(path)) == [sample]


@pytest.mark.parametrize("text", ["\ud800", "half \udfff", "a\u2028b\x85c\x00", "\r\n"])
def test_store_lone_surrogates_and_line_separators_read_back(tmp_path: Path, text: str) -> None:
    sample = make_sample("1", extracted=text)

    fill(tmp_path / SAMPLES, [sample])

    assert (tmp_path / SAMPLES).read_bytes().count(b"\n") == 1
    assert list(read_samples(tmp_path / SAMPLES)) == [sample]


def test_written_samples_replace_the_file_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / SAMPLES
    fill(path, make_samples("WWW"))
    longer = make_sample("000", completion=make_completion(thinking_ids=(9, 9)))

    write_samples(path, [longer])

    assert list(read_samples(path)) == [longer]
    assert [entry.name for entry in tmp_path.iterdir()] == [SAMPLES]
