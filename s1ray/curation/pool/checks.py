"""Whether a source's rows are good for anything: too many are bad, or its conditions leave none."""

from collections import Counter
from collections.abc import Iterator

from s1ray.curation.pool.items import PoolItem, RefusedRow


def check_rows(
    rows: Iterator[PoolItem | RefusedRow],
    *,
    name: str,
    max_bad_fraction: float,
    has_columns: bool,
) -> Iterator[PoolItem | RefusedRow]:
    """Pass a source's rows through, and refuse the source at its end if they are no good.

    Args:
        rows: Of one source.
        name: Of the source.
        max_bad_fraction: Share of its rows that may be bad.
        has_columns: Whether configuration says which columns are read.

    Raises:
        ValueError: More than ``max_bad_fraction`` of the rows are bad, or the source's own
            conditions leave none.
    """
    num_rows, num_refused, bad = 0, 0, Counter[str]()
    first: RefusedRow | None = None
    left_out: RefusedRow | None = None
    for row in rows:
        num_rows += 1
        num_refused += isinstance(row, RefusedRow)
        if isinstance(row, RefusedRow) and row.is_bad:
            bad[row.reason] += 1
            first = first or row
        elif isinstance(row, RefusedRow):
            left_out = left_out or row
        yield row
    if left_out is not None and num_refused == num_rows:
        raise ValueError(
            f"pool.sources.{name}.keep leaves none of {num_rows} rows; the first that it leaves "
            f"out, {left_out.origin}: {left_out.detail}. Correct the condition (a text is no "
            'number: "5" is not 5), or remove the source.'
        )
    if first is not None and bad.total() > max_bad_fraction * num_rows:
        raise ValueError(
            f"{bad.total()} of {num_rows} rows of source {name} are bad ("
            f"{_describe_bad(bad, first=first)}), more than "
            f"pool.max_bad_fraction={max_bad_fraction:g} allows. "
            f"{_spell_fix(name) if has_columns else 'Clean'} the files, or raise "
            "pool.max_bad_fraction."
        )


def _describe_bad(bad: Counter[str], *, first: RefusedRow) -> str:
    reasons = ", ".join(f"{reason} {count}" for reason, count in bad.most_common())
    return f"{reasons}; the first, {first.origin}: {first.detail}"


def _spell_fix(name: str) -> str:
    return (
        f"Correct pool.sources.{name}.columns (null where the rows lack a text that may be "
        "missing), clean"
    )
