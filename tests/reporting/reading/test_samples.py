from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s1ray.reporting.reading.samples import (
    Injections,
    SampleFile,
    Samples,
    Segment,
    SegmentKind,
    mark_prefix,
    mark_waits,
    read_samples,
    shorten,
)
from tests.reporting.fake_evaluations import POLICIES, write_evaluation
from tests.reporting.fake_runs import write_lines

INJECTIONS = Injections(waits=("Wait",), answer_prefixes=("Final Answer:",))
MODEL, WAIT, FORCED, ELIDED = SegmentKind


def read(path: Path, **changes: Any) -> Samples:
    file = SampleFile(path=path / "samples.jsonl", model="trained")
    sizes = {"max_items": 100, "max_characters": 1000} | changes
    return read_samples([file], injections=INJECTIONS, **sizes)


def split(segments: tuple[Segment, ...]) -> list[tuple[SegmentKind, str]]:
    return [(segment.kind, segment.text) for segment in segments]


def test_injected_waits_are_marked() -> None:
    text = "1 + 2 = 3\nWait, again\nWait"

    marked = mark_waits(text, num_tokens=9, positions=[5, 8], wait_strings=["Wait"])

    assert split(marked) == [
        (MODEL, "1 + 2 = 3\n"),
        (WAIT, "Wait"),
        (MODEL, ", again\n"),
        (WAIT, "Wait"),
    ]


def test_wait_that_the_model_wrote_is_not_marked() -> None:
    words = ["Wait,", *["x"] * 18, "Wait", "y"]

    marked = mark_waits(" ".join(words), num_tokens=21, positions=[19], wait_strings=["Wait"])

    assert split(marked)[0] == (MODEL, "Wait, " + "x " * 18)
    assert split(marked)[1] == (WAIT, "Wait")


def test_longer_of_two_wait_strings_is_marked_whole() -> None:
    marked = mark_waits(
        "a Wait now b", num_tokens=4, positions=[1], wait_strings=["Wait", "Wait now"]
    )

    assert (WAIT, "Wait now") in split(marked)


def test_wait_cut_off_by_the_budget_leaves_the_text_whole() -> None:
    assert split(mark_waits("3\nWa", num_tokens=3, positions=[2], wait_strings=["Wait"])) == [
        (MODEL, "3\nWa")
    ]


@given(
    text=st.text(alphabet="Wait .\n", max_size=60),
    positions=st.lists(st.integers(0, 30), max_size=5).map(sorted),
)
def test_marking_changes_no_text_and_marks_no_more_than_was_injected(
    text: str, positions: list[int]
) -> None:
    marked = mark_waits(text, num_tokens=30, positions=positions, wait_strings=["Wait", "W"])

    assert "".join(segment.text for segment in marked) == text
    assert sum(segment.kind is WAIT for segment in marked) <= len(positions)


def test_forced_prefix_is_marked() -> None:
    assert split(mark_prefix("Final Answer: 7", ["Answer:", "Final Answer:"])) == [
        (FORCED, "Final Answer:"),
        (MODEL, " 7"),
    ]


def test_answer_without_the_prefix_is_the_models() -> None:
    assert split(mark_prefix("Answer: 7", ["Final Answer:"])) == [(MODEL, "Answer: 7")]


@given(parts=st.lists(st.text(min_size=1, max_size=9), max_size=6), limit=st.integers(1, 30))
def test_shortened_text_keeps_its_ends_and_counts_the_rest(parts: list[str], limit: int) -> None:
    text = "".join(parts)

    short = shorten(tuple(Segment(kind=MODEL, text=part) for part in parts), limit)

    kept = "".join(segment.text for segment in short if segment.kind is not ELIDED)
    gaps = [segment.text for segment in short if segment.kind is ELIDED]
    head = (limit + 1) // 2
    if len(text) <= limit:
        assert (kept, gaps) == (text, [])
    else:
        assert kept == text[:head] + text[len(text) - (limit - head) :]
        assert gaps == [f"{len(text) - limit:,} characters left out"]


def test_samples_carry_the_label_and_what_happened(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "e", label="x", benchmarks=["sums"], num_items=3, skill=0.9)

    samples = read(tmp_path / "e")

    cut = next(view for view in samples.views if view.policy == "cap_4")
    waited = next(view for view in samples.views if view.policy == "wait_4")
    assert samples.num_rows == 3 * len(POLICIES)
    assert cut.model == "trained"
    assert (cut.num_thinking_tokens, cut.thinking_end, cut.is_answer_forced) == (4, "cap", True)
    assert cut.answer[0] == Segment(kind=FORCED, text="Final Answer:")
    assert sum(segment.kind is WAIT for segment in waited.thinking) == 4


def test_samples_beyond_the_items_wanted_are_counted_and_left_out(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "e", label="x", benchmarks=["a", "b"], num_items=5, skill=0.9)

    samples = read(tmp_path / "e", max_items=2)

    assert samples.num_rows == 2 * 5 * len(POLICIES)
    assert len(samples.views) == 2 * 2 * len(POLICIES)


def test_file_of_samples_that_is_missing_has_none(tmp_path: Path) -> None:
    assert read(tmp_path).views == ()


def test_row_without_a_key_is_refused(tmp_path: Path) -> None:
    write_lines(tmp_path / "samples.jsonl", [{"benchmark": "sums"}])

    with pytest.raises(ValueError, match=r"samples\.jsonl lacks 'item'\. Evaluate again"):
        read(tmp_path)
