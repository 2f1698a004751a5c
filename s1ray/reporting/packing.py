"""Samples as data inside a page: a small index, and compressed pieces opened when looked at.

It knows how the page's script reads them. It knows no layout, and no sample is dropped here.
"""

import base64
import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from s1ray.reporting.samples import SampleView

PREFERRED_MODEL = "trained"
"""Whose answers are shown first, where there is such a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedSamples:
    """Samples as the page carries them."""

    index: str
    """JSON, safe inside a script element: what can be filtered, by row."""
    pieces: tuple[str, ...]
    """base64 of gzip of a JSON list, ``rows_per_piece`` rows each, in the index's order."""


def encode_for_script(content: object) -> str:
    """Return JSON that no text inside it can break out of a script element with."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def pack_samples(
    views: Sequence[SampleView],
    *,
    policies: Sequence[str],
    models: Sequence[str],
    verdicts: Sequence[str],
    num_first: int,
    rows_per_piece: int,
) -> PackedSamples:
    """Return samples grouped by item, so that shared beginnings compress and open together.

    Args:
        views: All samples of the page.
        policies: Names in the order a reader expects, others follow.
        models: Likewise.
        verdicts: Likewise.
        num_first: How many stand in front: one item of the preferred model at as many budgets,
            spread evenly, whatever their verdicts.
        rows_per_piece: Samples that are opened together.
    """
    known = {
        "benchmarks": _distinct((), views, lambda view: view.benchmark),
        "models": _distinct(models, views, lambda view: view.model),
        "policies": _distinct(policies, views, lambda view: view.policy),
        "verdicts": _distinct(verdicts, views, lambda view: view.verdict),
        "items": sorted({view.item for view in views}),
    }
    ranks = {name: {value: rank for rank, value in enumerate(known[name])} for name in known}

    def rank_row(view: SampleView) -> tuple[int, ...]:
        return (
            ranks["benchmarks"][view.benchmark],
            ranks["items"][view.item],
            view.sample,
            ranks["models"][view.model],
            ranks["policies"][view.policy],
            ranks["verdicts"][view.verdict],
        )

    ordered = sorted(views, key=rank_row)
    rows = [rank_row(view) for view in ordered]
    preferred = _prefer(known["models"])
    index = {
        **known,
        "preferred": preferred,
        "rows": rows,
        "first": _pick_first(rows, model=preferred, number=num_first),
        "rowsPerPiece": rows_per_piece,
    }
    starts = range(0, len(ordered), rows_per_piece)
    pieces = [ordered[at : at + rows_per_piece] for at in starts]
    return PackedSamples(
        index=encode_for_script(index), pieces=tuple(_compress(piece) for piece in pieces)
    )


def _distinct(
    leading: Sequence[str], views: Sequence[SampleView], name: Callable[[SampleView], str]
) -> list[str]:
    present = dict.fromkeys(name(view) for view in views)
    return [value for value in dict.fromkeys((*leading, *present)) if value in present]


def _prefer(models: Sequence[str]) -> int:
    """Return the rank of the model whose answers are shown first; the last one by default."""
    if PREFERRED_MODEL in models:
        return list(models).index(PREFERRED_MODEL)
    return len(models) - 1


def _pick_first(rows: Sequence[tuple[int, ...]], *, model: int, number: int) -> list[int]:
    """Return the rows of the first item's first sample at budgets spread evenly."""
    of_model = [at for at, row in enumerate(rows) if row[3] == model]
    same = [at for at in of_model if rows[at][:3] == rows[of_model[0]][:3]]
    last = len(same) - 1
    spread = [round(at * last / max(number - 1, 1)) for at in range(number)]
    return [same[at] for at in dict.fromkeys(spread)] if same else []


def _compress(views: Sequence[SampleView]) -> str:
    text = json.dumps([_describe(view) for view in views], ensure_ascii=False, allow_nan=False)
    packed = gzip.compress(text.encode("utf-8", errors="replace"), mtime=0)
    return base64.b64encode(packed).decode("ascii")


def _describe(view: SampleView) -> dict[str, Any]:
    return {
        "question": view.question,
        "gold": view.gold,
        "thinking": [[segment.kind, segment.text] for segment in view.thinking],
        "answer": [[segment.kind, segment.text] for segment in view.answer],
        "tokens": view.num_thinking_tokens,
        "waits": view.num_waits,
        "end": view.thinking_end,
        "forced": view.is_answer_forced,
        "complete": view.is_answer_complete,
        "extracted": view.extracted,
        "layer": view.layer,
    }
