"""The data card: what a selection holds, where it comes from and what it rests on.

It describes; it decides nothing and reads no file.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from s1ray.config.pool import PoolConfig
from s1ray.curation.curate import Curation
from s1ray.curation.funnel import JsonValue
from s1ray.curation.pool.items import ProtectedQuestion

_QUANTILES = (("shortest", 0.0), ("median", 0.5), ("longest", 1.0))


def describe_card(
    curation: Curation,
    *,
    pool: PoolConfig,
    protected: Iterable[ProtectedQuestion],
    count_tokens: Callable[[str], int],
    unit: Literal["tokens", "words"],
) -> dict[str, JsonValue]:
    """Return the content of card.json.

    Args:
        curation: What was chosen.
        pool: The one chosen from; declares each source's origin and licence.
        protected: The benchmarks' questions that were kept out.
        count_tokens: Length of a text.
        unit: What it counts.
    """
    traces = curation.selected
    return {
        "num_questions": len(traces),
        "sources": _list_sources(curation, pool=pool),
        "domains": _count(trace.question.domain or "not named" for trace in traces),
        "teachers": _count(trace.teacher for trace in traces),
        "grades": _count(_spell_grade(is_correct=trace.is_correct) for trace in traces),
        "lengths": {
            f"question_{unit}": _summarise([count_tokens(item.question.text) for item in traces]),
            f"thinking_{unit}": _summarise([count_tokens(item.thinking) for item in traces]),
            f"answer_{unit}": _summarise([count_tokens(item.answer) for item in traces]),
            "as_ranked": _summarise(curation.lengths),
        },
        "kept_out": _count(item.benchmark for item in protected),
        "stand_ins": [
            f"{step.name}: {step.stand_in}" for step in curation.funnel.steps if step.stand_in
        ],
    }


def _list_sources(curation: Curation, *, pool: PoolConfig) -> list[JsonValue]:
    """Return what is told of each source, the most frequent first.

    Questions of one name that the pool has from several sources are several entries: each of those
    declares its own origin and licence.
    """
    names = (trace.question.source for trace in curation.selected)
    counts = Counter(zip(names, curation.sources, strict=True))
    return [
        {
            "name": name,
            "origin": pool.sources[source].origin,
            "licence": pool.sources[source].licence,
            "num_questions": number,
        }
        for (name, source), number in counts.most_common()
    ]


def render_card(card: dict[str, JsonValue], *, title: str) -> str:
    """Return the card as Markdown, for people and for a dataset's page."""
    lines = [f"# {title}", "", f"{card['num_questions']} questions."]
    for name in ("stand_ins", "sources", "domains", "teachers", "grades", "lengths", "kept_out"):
        lines += ["", f"## {name.replace('_', ' ').capitalize()}", "", *_render(card[name])]
    return "\n".join(lines) + "\n"


def _render(value: JsonValue) -> list[str]:
    if isinstance(value, list):
        return [f"- {_join(entry)}" for entry in value] or ["None."]
    if isinstance(value, dict):
        return [f"- {key}: {_join(entry)}" for key, entry in value.items()] or ["None."]
    return [str(value)]


def _join(value: JsonValue) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {entry}" for key, entry in value.items())
    return str(value)


def _count(names: Iterable[str]) -> dict[str, JsonValue]:
    return dict(Counter(names).most_common())


def _spell_grade(*, is_correct: bool | None) -> str:
    return {True: "correct", False: "incorrect", None: "not graded"}[is_correct]


def _summarise(lengths: Sequence[int]) -> dict[str, JsonValue]:
    ranked = sorted(lengths)
    if not ranked:
        return {}
    found: dict[str, JsonValue] = {
        name: ranked[round(share * (len(ranked) - 1))] for name, share in _QUANTILES
    }
    return {**found, "sum": sum(ranked)}
