"""Numbers as a reader sees them; the unit stands in the column's head or beside the number.

It knows no table and no page.
"""

from datetime import datetime

ABSENT = "\N{EN DASH}"
"""Stands where something was not measured or does not apply."""
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
MINUS = "\N{MINUS SIGN}"
NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"
TIMES = "\N{MULTIPLICATION SIGN}"


def format_count(value: float | None) -> str:
    """Return a whole number with thousands set apart."""
    return ABSENT if value is None else f"{value:,.0f}"


def format_number(value: float | None, *, digits: int) -> str:
    """Return a number with a true minus sign and thousands set apart."""
    return ABSENT if value is None else f"{value:,.{digits}f}".replace("-", MINUS)


def format_significant(value: float) -> str:
    """Return a number of unknown size with about four digits that matter."""
    if value == int(value):
        return f"{value:,.0f}".replace("-", MINUS)
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 4
    return f"{value:,.{digits}f}".replace("-", MINUS)


def format_percent(share: float | None) -> str:
    """Return a share of 0..1 in percent, without the sign."""
    return format_number(None if share is None else 100 * share, digits=1)


def format_percent_error(share: float | None, stderr: float | None) -> str:
    """Return a share and its standard error in percent, without the sign."""
    if share is None or stderr is None:
        return format_percent(share)
    spaced = f"{NARROW_SPACE}{PLUS_MINUS}{NARROW_SPACE}"
    return f"{format_percent(share)}{spaced}{format_percent(stderr)}"


def format_difference(difference: float) -> str:
    """Return a difference of shares in percentage points, signed."""
    text = format_percent(difference)
    if not text.strip("0.\N{MINUS SIGN}"):
        return "0.0"
    return text if difference < 0 else f"+{text}"


def format_seconds(seconds: float) -> str:
    """Return a duration in the two largest units that matter."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def format_time(moment: str) -> str:
    """Return a moment in ISO 8601 to the minute, as it is where it is not one."""
    try:
        return datetime.fromisoformat(moment).strftime("%Y-%m-%d %H:%M %Z").strip()
    except ValueError:
        return moment


def spell_name(name: str) -> str:
    """Return an identifier such as ``max_thinking_tokens`` as words."""
    return name.replace("_", " ").strip()
