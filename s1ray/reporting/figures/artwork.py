"""How figures look, and how they become files and parts of a page.

It knows formats and colours; it does not know what a figure shows.
"""

import base64
import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

PALETTE = {
    "paper": "#fffffe",
    "ink": "#1c1b19",
    "muted": "#6b6862",
    "rule": "#dedbd4",
    "series-0": "#a8622a",
    "series-1": "#2a5f9e",
    "series-2": "#3d7a52",
    "series-3": "#7d4f91",
    "series-4": "#8a7520",
    "series-5": "#a6405c",
    "series-6": "#1f7a80",
    "series-7": "#56606e",
    "series-8": "#a83a8f",
    "series-9": "#5f7d12",
    "series-10": "#6b4a34",
    "series-11": "#1780b8",
}
"""Names of colours on the page, and what they are on paper and on a light screen."""
DARK_PALETTE = {
    "paper": "#161617",
    "ink": "#e8e5de",
    "muted": "#a5a096",
    "rule": "#383733",
    "series-0": "#e09a5f",
    "series-1": "#82b1e6",
    "series-2": "#82c596",
    "series-3": "#c69dda",
    "series-4": "#cfb95f",
    "series-5": "#ea90a5",
    "series-6": "#6cc5cb",
    "series-7": "#a9b4c2",
    "series-8": "#e58fd3",
    "series-9": "#b0d060",
    "series-10": "#c9a58c",
    "series-11": "#7fd0f5",
}
"""What the same names are on a dark screen."""
SERIES = tuple(name for name in PALETTE if name.startswith("series"))
STYLE: dict[Any, Any] = {
    "axes.edgecolor": PALETTE["muted"],
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": PALETTE["ink"],
    "axes.labelsize": 9,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.facecolor": PALETTE["paper"],
    "font.size": 9,
    "grid.color": PALETTE["rule"],
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "s1ray",
    "text.color": PALETTE["ink"],
    "text.parse_math": False,
    "xtick.color": PALETTE["muted"],
    "xtick.labelcolor": PALETTE["ink"],
    "xtick.labelsize": 8.5,
    "ytick.color": PALETTE["muted"],
    "ytick.labelcolor": PALETTE["ink"],
    "ytick.labelsize": 8.5,
    "ytick.left": False,
}
"""Matplotlib settings; needed where a figure is made and again where it is saved."""


def save_figure(figure: Figure, *, file_format: str, dots_per_inch: float) -> bytes:
    """Return a figure as a file's content, the same bytes every time.

    Args:
        figure: As drawn under ``STYLE``.
        file_format: png, pdf or svg.
        dots_per_inch: Of a png.
    """
    undated = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    content = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(
            content, format=file_format, dpi=dots_per_inch, metadata=undated[file_format]
        )
    return content.getvalue()


def embed_figure(figure: Figure, *, name: str, title: str, description: str) -> str:
    """Return a figure as an inline SVG that takes its colours and fonts from the page.

    Args:
        figure: As drawn under ``STYLE``.
        name: Unique on the page: prefixes every id.
        title: What the figure is, for those who do not see it.
        description: What it shows, likewise.
    """
    text = save_figure(figure, file_format="svg", dots_per_inch=72).decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.S)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font-family: [^;\"]*", "font-family: inherit", text)
    for colour, value in PALETTE.items():
        text = text.replace(value, f"var(--{colour})")
    view_box = re.search(r'viewBox="[^"]*"', text)
    assert view_box is not None
    labelled = f"{name}-title {name}-description"
    head = (
        f'<svg {view_box.group()} xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" role="img" aria-labelledby="{labelled}">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-description">{escape(description)}</desc>'
    )
    return head + text[text.index(">") + 1 :].strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureFile:
    """A figure, or the numbers behind it, as a file."""

    name: str
    label: str
    content: bytes
    media_type: str

    @property
    def link(self) -> str:
        """The content as a link, so that the page needs no file beside it."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.content).decode('ascii')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure for two widths of screen, and its files."""

    wide: str
    narrow: str
    caption: str
    files: tuple[FigureFile, ...]


def make_drawing(
    *,
    wide: Figure,
    narrow: Figure,
    name: str,
    caption: str,
    description: str,
    numbers: str,
    dots_per_inch: float,
) -> Drawing:
    """Return a figure ready for the page and for the run directory.

    Args:
        wide: Also the shape of the files.
        narrow: The same for a phone.
        name: Of the files, and unique on the page.
        caption: What stands below it.
        description: What it shows, for those who do not see it.
        numbers: CSV of what was drawn.
        dots_per_inch: Of the png.
    """
    png = save_figure(wide, file_format="png", dots_per_inch=dots_per_inch)
    pdf = save_figure(wide, file_format="pdf", dots_per_inch=dots_per_inch)
    table = numbers.encode("utf-8", errors="replace")
    title = caption.split(".", maxsplit=1)[0]
    return Drawing(
        wide=embed_figure(wide, name=f"{name}-wide", title=title, description=description),
        narrow=embed_figure(narrow, name=f"{name}-narrow", title=title, description=description),
        caption=caption,
        files=(
            FigureFile(name=f"{name}.png", label="PNG", content=png, media_type="image/png"),
            FigureFile(name=f"{name}.pdf", label="PDF", content=pdf, media_type="application/pdf"),
            FigureFile(name=f"{name}.csv", label="CSV", content=table, media_type="text/csv"),
        ),
    )


def write_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows of one shape as CSV with a head; empty cells stand for what is not measured."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
