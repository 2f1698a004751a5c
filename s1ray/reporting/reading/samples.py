"""Rows of ``samples.jsonl`` as a reader wants them: forced parts marked, token ids left behind.

It knows the row format and the strings that budget forcing injects. It knows no page, and holds
no more of a long text than it was told to.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from s1ray.reporting.reading.read import read_lines


class SegmentKind(StrEnum):
    """Who wrote a stretch of text."""

    MODEL = "model"
    WAIT = "wait"
    """Injected in place of an end of thinking."""
    FORCED = "forced"
    """The answer prefix, injected because a limit ended thinking."""
    ELIDED = "elided"
    """Left out of the page; the text says how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of text with one origin."""

    kind: SegmentKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Injections:
    """What budget forcing may have put into a text, longest first."""

    waits: tuple[str, ...]
    answer_prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleView:
    """One graded answer, ready to be shown."""

    benchmark: str
    item: str
    sample: int
    policy: str
    model: str
    question: str | None
    """None where the benchmark is private."""
    gold: str
    thinking: tuple[Segment, ...]
    answer: tuple[Segment, ...]
    num_thinking_tokens: int
    num_waits: int
    thinking_end: str
    is_answer_forced: bool
    is_answer_complete: bool
    verdict: str
    extracted: str | None
    layer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFile:
    """A file of samples, and how its model is called on the page."""

    path: Path
    model: str | None
    """In place of the rows' own name, which is a digest of weights; None keeps it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The samples that the page holds, of all there are."""

    views: tuple[SampleView, ...]
    num_rows: int
    """All rows read, shown or not."""


def read_samples(
    files: Iterable[SampleFile],
    *,
    injections: Injections,
    max_items: int,
    max_characters: int,
) -> Samples:
    """Return the samples of several files, of which the first items of a benchmark are kept whole.

    Args:
        files: Where the rows stand; a file that does not exist has none.
        injections: What may have been injected.
        max_items: Items of a benchmark to keep, each with all its budgets and models.
        max_characters: Of a text; of a longer one, beginning and end are kept.

    Raises:
        ValueError: A file is not JSONL, or a row lacks a key.
    """
    views: list[SampleView] = []
    kept: defaultdict[str, set[str]] = defaultdict(set)
    num_rows = 0
    for file in files:
        for row in read_lines(file.path):
            try:
                num_rows += 1
                items = kept[row["benchmark"]]
                if row["item"] in items or len(items) < max_items:
                    items.add(row["item"])
                    model = file.model or row["model"]
                    views.append(_view(row, model, injections, max_characters))
            except KeyError as error:
                raise ValueError(
                    f"a row of {file.path} lacks {error}. Evaluate again with this version."
                ) from error
    return Samples(views=tuple(views), num_rows=num_rows)


PRIVATE = (Segment(kind=SegmentKind.ELIDED, text="private benchmark: the text is not shown"),)


def _view(
    row: Mapping[str, Any], model: str, injections: Injections, max_characters: int
) -> SampleView:
    thinking = mark_waits(
        row["thinking"],
        num_tokens=len(row["thinking_ids"]),
        positions=row["wait_positions"],
        wait_strings=injections.waits,
    )
    prefixes = injections.answer_prefixes if row["is_answer_forced"] else ()
    answer = mark_prefix(row["answer"].lstrip("\n"), prefixes)
    # Thinking and answer of a private benchmark quote its questions.
    is_private = row["question"] is None
    return SampleView(
        benchmark=row["benchmark"],
        item=str(row["item"]),
        sample=row["sample"],
        policy=row["policy"],
        model=model,
        question=row["question"],
        gold=str(row["gold"]),
        thinking=PRIVATE if is_private else shorten(thinking, max_characters),
        answer=PRIVATE if is_private else shorten(answer, max_characters),
        num_thinking_tokens=len(row["thinking_ids"]),
        num_waits=row["num_waits_applied"],
        thinking_end=row["thinking_end"],
        is_answer_forced=row["is_answer_forced"],
        is_answer_complete=row["is_answer_complete"],
        verdict=row["verdict"],
        extracted=row["extracted"],
        layer=row["layer"],
    )


def mark_waits(
    text: str, *, num_tokens: int, positions: Sequence[int], wait_strings: Sequence[str]
) -> tuple[Segment, ...]:
    """Split a text at the wait strings that were injected.

    The row gives their places in tokens. Where the model wrote the same string itself, the
    occurrences that lie nearest to these places, in order, count as the injected ones.

    Args:
        text: The thinking.
        num_tokens: Its length in tokens.
        positions: Where, in tokens, each injection begins; ascending.
        wait_strings: What may have been injected.
    """
    found = _find_all(text, wait_strings)
    num_marks = min(len(positions), len(found))
    segments: list[Segment] = []
    end = 0
    for index in range(num_marks):
        expected = positions[index] * len(text) / max(num_tokens, 1)
        spare = len(found) - (num_marks - index)
        choice = min(range(spare + 1), key=lambda at: abs(found[at][0] - expected))
        start, string = found[choice]
        segments += [
            Segment(kind=SegmentKind.MODEL, text=text[end:start]),
            Segment(kind=SegmentKind.WAIT, text=string),
        ]
        end = start + len(string)
        found = found[choice + 1 :]
    segments.append(Segment(kind=SegmentKind.MODEL, text=text[end:]))
    return tuple(segment for segment in segments if segment.text)


def _find_all(text: str, strings: Sequence[str]) -> list[tuple[int, str]]:
    """Return where any of the strings begins, in order, without overlap."""
    found: list[tuple[int, str]] = []
    at = 0
    while True:
        hits = [(text.find(string, at), string) for string in strings if string]
        hits = [hit for hit in hits if hit[0] >= 0]
        if not hits:
            return found
        first = min(hits, key=lambda hit: (hit[0], -len(hit[1])))
        found.append(first)
        at = first[0] + len(first[1])


def mark_prefix(text: str, prefixes: Sequence[str]) -> tuple[Segment, ...]:
    """Split a forced answer behind the prefix that was injected."""
    prefix = next((prefix for prefix in prefixes if prefix and text.startswith(prefix)), "")
    parts = ((SegmentKind.FORCED, prefix), (SegmentKind.MODEL, text[len(prefix) :]))
    return tuple(Segment(kind=kind, text=part) for kind, part in parts if part)


def shorten(segments: tuple[Segment, ...], max_characters: int) -> tuple[Segment, ...]:
    """Leave out the middle of a text that is too long, and say how much of it."""
    total = sum(len(segment.text) for segment in segments)
    if total <= max_characters:
        return segments
    head = _take(segments, (max_characters + 1) // 2)
    tail = _take(tuple(reversed(segments)), max_characters // 2, from_end=True)
    gap = Segment(kind=SegmentKind.ELIDED, text=f"{total - max_characters:,} characters left out")
    return (*head, gap, *reversed(tail))


def _take(
    segments: tuple[Segment, ...], num_characters: int, *, from_end: bool = False
) -> tuple[Segment, ...]:
    taken: list[Segment] = []
    for segment in segments:
        if num_characters <= 0:
            break
        part = segment.text[-num_characters:] if from_end else segment.text[:num_characters]
        taken.append(Segment(kind=segment.kind, text=part))
        num_characters -= len(part)
    return tuple(taken)
