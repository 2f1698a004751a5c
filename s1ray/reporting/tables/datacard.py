"""What a model was trained on: where it came from, how long it is, what the funnel dropped.

It reads ``selected.jsonl``, ``card.json`` and ``funnel.json``. It knows no page, and decides
nothing about data.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from s1ray.reporting.reading.read import read_json, read_lines
from s1ray.reporting.tables.formats import ABSENT, format_count, format_percent
from s1ray.reporting.tables.tables import Column, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """One bar of a histogram."""

    label: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Counts that sum to the number of samples."""

    title: str
    bins: tuple[Bin, ...]

    @property
    def largest(self) -> int:
        """The longest bar's count."""
        return max(bin_.count for bin_ in self.bins)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCard:
    """The selected traces in a few numbers."""

    facts: tuple[tuple[str, str], ...]
    histograms: tuple[Histogram, ...]


def read_data_card(path: Path, *, num_bins: int, max_groups: int) -> DataCard | None:
    """Return the card of a file of selected traces; None where there are none.

    Args:
        path: ``selected.jsonl`` of a curate run.
        num_bins: Bars of the length histogram.
        max_groups: Domains and sources named one by one; the rest is summed.

    Raises:
        ValueError: The file is not JSONL, or a row lacks a key.
    """
    lengths: list[int] = []
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("domain", "source", "teacher")}
    grades: Counter[bool | None] = Counter()
    for row in read_lines(path):
        try:
            lengths.append(len(row["thinking"].split()))
            counts["domain"][row["question"]["domain"] or "not named"] += 1
            counts["source"][row["question"]["source"]] += 1
            counts["teacher"][row["teacher"]] += 1
            grades[row["is_correct"]] += 1
        except KeyError as error:
            raise ValueError(f"a row of {path} lacks {error}. Curate again.") from error
    if not lengths:
        return None
    facts = (
        ("Selected traces", format_count(len(lengths))),
        ("Teacher", ", ".join(sorted(counts["teacher"]))),
        ("Teacher's answer correct", _describe_grades(grades)),
        ("Words of thinking, median", format_count(sorted(lengths)[len(lengths) // 2])),
        ("Words of thinking, longest", format_count(max(lengths))),
    )
    histograms = (
        Histogram(title="Words of thinking", bins=bin_lengths(lengths, num_bins=num_bins)),
        Histogram(title="Domains", bins=_rank(counts["domain"], max_groups)),
        Histogram(title="Sources", bins=_rank(counts["source"], max_groups)),
    )
    return DataCard(facts=facts, histograms=histograms)


def _describe_grades(grades: Counter[bool | None]) -> str:
    graded = grades[True] + grades[False]
    if not graded:
        return ABSENT
    return f"{format_percent(grades[True] / graded)} % of {format_count(graded)} graded"


def bin_lengths(lengths: Sequence[int], *, num_bins: int) -> tuple[Bin, ...]:
    """Return counts in bins of one whole width, from the shortest to the longest."""
    low, high = min(lengths), max(lengths)
    width = -(-(high - low + 1) // num_bins)
    edges = list(range(low, high + width + 1, width))
    counts = Counter((length - low) // width for length in lengths)
    return tuple(
        Bin(
            label=f"{start:,}" if width == 1 else f"{start:,}\N{EN DASH}{end - 1:,}",
            count=counts[index],
        )
        for index, (start, end) in enumerate(pairwise(edges))
    )


def _rank(counts: Counter[str], max_groups: int) -> tuple[Bin, ...]:
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    bins = [Bin(label=label, count=count) for label, count in ranked[:max_groups]]
    rest = ranked[max_groups:]
    if rest:
        label = f"{len(rest)} others"
        bins.append(Bin(label=label, count=sum(count for _, count in rest)))
    return tuple(bins)


def read_funnel(path: Path) -> Table | None:
    """Return what every step of curation let through; None where there is no ``funnel.json``.

    Raises:
        ValueError: The file is not JSON.
    """
    content = read_json(path)
    if not content or not content["steps"]:
        return None
    rows = tuple(
        (
            step["name"],
            format_count(step["in"]),
            format_count(step["out"]),
            _join_reasons(step["reasons"].items()),
            step["stand_in"] or ABSENT,
        )
        for step in content["steps"]
    )
    columns = (
        Column(title="step", is_number=False),
        Column(title="in", is_number=True),
        Column(title="kept", is_number=True),
        Column(title="dropped for", is_number=False),
        Column(title="stands in for s1's step", is_number=False),
    )
    return Table(title="Curation", columns=columns, groups=(rows,), note="")


def read_sources(path: Path) -> Table | None:
    """Return where the selected questions come from and under which licence; None for no card.

    Args:
        path: ``card.json`` of a curate run.

    Raises:
        ValueError: The file is not JSON.
    """
    content = read_json(path)
    if not content or not content["sources"]:
        return None
    rows = tuple(
        (
            source["name"],
            format_count(source["num_questions"]),
            source["licence"],
            source["origin"],
        )
        for source in content["sources"]
    )
    columns = (
        Column(title="source", is_number=False),
        Column(title="questions", is_number=True),
        Column(title="licence", is_number=False),
        Column(title="origin", is_number=False),
    )
    return Table(title="Sources and licences", columns=columns, groups=(rows,), note="")


def _join_reasons(reasons: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {format_count(count)}" for name, count in reasons) or ABSENT
