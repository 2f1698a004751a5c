"""Samples as data inside a page: a small index, and compressed pieces opened when looked at.

It knows how the page's script reads them. It knows no layout, and no sample is dropped here.
"""

import base64
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s1ray.reporting.reading.samples import SampleView

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
    names = {
        "benchmarks": _distinct((), [view.benchmark for view in views]),
        "models": _distinct(models, [view.model for view in views]),
        "policies": _distinct(policies, [view.policy for view in views]),
        "verdicts": _distinct(verdicts, [view.verdict for view in views]),
        "items": sorted({view.item for view in views}),
    }
    ranked = sorted(_rank_rows(views, names), key=lambda pair: pair[0])
    rows = [row for row, _ in ranked]
    preferred = _prefer(names["models"])
    index = {
        **names,
        "preferred": preferred,
        "rows": rows,
        "first": _pick_first(rows, model=preferred, number=num_first),
        "rowsPerPiece": rows_per_piece,
    }
    starts = range(0, len(ranked), rows_per_piece)
    pieces = [[view for _, view in ranked[at : at + rows_per_piece]] for at in starts]
    return PackedSamples(
        index=encode_for_script(index), pieces=tuple(_compress(piece) for piece in pieces)
    )


def _distinct(leading: Sequence[str], present: Sequence[str]) -> list[str]:
    """Return the values that occur, known ones first and in their order."""
    occurring = dict.fromkeys(present)
    return [value for value in dict.fromkeys((*leading, *occurring)) if value in occurring]


def _rank_rows(
    views: Sequence[SampleView], names: Mapping[str, Sequence[str]]
) -> Iterator[tuple[tuple[int, ...], SampleView]]:
    """Yield each sample behind its row: what can be filtered, as places in the lists of names."""
    ranks = {name: {value: at for at, value in enumerate(names[name])} for name in names}
    for view in views:
        yield (
            (
                ranks["benchmarks"][view.benchmark],
                ranks["items"][view.item],
                view.sample,
                ranks["models"][view.model],
                ranks["policies"][view.policy],
                ranks["verdicts"][view.verdict],
            ),
            view,
        )


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
