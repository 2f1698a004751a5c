from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s1ray.reporting.tables.datacard import bin_lengths, read_data_card, read_funnel, read_sources
from tests.reporting.fake_runs import write_curation, write_json, write_lines


def test_card_counts_every_trace_once(tmp_path: Path) -> None:
    path = write_curation(tmp_path / "curate" / "c", num_traces=60)

    card = read_data_card(path / "selected.jsonl", num_bins=6, max_groups=3)

    assert card is not None
    assert dict(card.facts)["Selected traces"] == "60"
    assert dict(card.facts)["Teacher's answer correct"] == "100.0 % of 60 graded"
    assert [sum(bin_.count for bin_ in h.bins) for h in card.histograms] == [60, 60, 60]
    assert card.histograms[1].bins[-1].label == "4 others"


def test_card_without_traces_is_none(tmp_path: Path) -> None:
    assert read_data_card(tmp_path / "selected.jsonl", num_bins=6, max_groups=3) is None


def test_trace_without_a_key_is_refused(tmp_path: Path) -> None:
    write_lines(tmp_path / "selected.jsonl", [{"thinking": "x"}])

    with pytest.raises(ValueError, match=r"selected\.jsonl lacks 'question'\. Curate again"):
        read_data_card(tmp_path / "selected.jsonl", num_bins=6, max_groups=3)


@given(st.lists(st.integers(0, 9000), min_size=1, max_size=50), st.integers(1, 15))
def test_bins_cover_all_lengths_in_one_width(lengths: list[int], num_bins: int) -> None:
    bins = bin_lengths(lengths, num_bins=num_bins)

    starts = [int(bin_.label.split("\N{EN DASH}")[0].replace(",", "")) for bin_ in bins]
    width = starts[1] - starts[0] if len(starts) > 1 else max(lengths) - min(lengths) + 1
    assert len(bins) <= num_bins
    assert starts[0] == min(lengths)
    for start, bin_ in zip(starts, bins, strict=True):
        assert bin_.count == sum(start <= length < start + width for length in lengths)


def test_funnel_of_curation_is_understood(tmp_path: Path) -> None:
    step = {"name": "quality", "in": 1200, "out": 1190, "reasons": {"empty": 10}, "stand_in": None}
    write_json(tmp_path / "funnel.json", {"steps": [step | {"dropped_by_source": {"sums": 10}}]})

    table = read_funnel(tmp_path / "funnel.json")

    assert table is not None
    assert table.groups == ((("quality", "1,200", "1,190", "empty 10", "\u2013"),),)


def test_funnel_that_is_missing_is_none(tmp_path: Path) -> None:
    assert read_funnel(tmp_path / "funnel.json") is None


def test_sources_name_their_licence_and_origin(tmp_path: Path) -> None:
    first = {"name": "numina", "origin": "AI-MO/NuminaMath-CoT", "licence": "Apache-2.0"}
    second = {"name": "jee", "origin": "daman1209arora/jeebench", "licence": "see its card"}
    sources = [first | {"num_questions": 1100}, second | {"num_questions": 3}]
    write_json(tmp_path / "card.json", {"num_questions": 1103, "sources": sources})

    table = read_sources(tmp_path / "card.json")

    assert table is not None
    assert table.groups == (
        (
            ("numina", "1,100", "Apache-2.0", "AI-MO/NuminaMath-CoT"),
            ("jee", "3", "see its card", "daman1209arora/jeebench"),
        ),
    )


def test_sources_without_a_card_are_none(tmp_path: Path) -> None:
    assert read_sources(tmp_path / "card.json") is None
