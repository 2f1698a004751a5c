from collections import Counter
from pathlib import Path

from s1ray.config.pool import PoolConfig
from s1ray.curation.card import describe_card, render_card
from s1ray.curation.curate import Curation
from s1ray.curation.funnel import Funnel, FunnelStep
from s1ray.curation.pool.items import ProtectedQuestion
from s1ray.curation.pool.sources import Pool
from s1ray.curation.traces import format_traces
from tests.curation.composed import curate
from tests.curation.declared import SUMS, declare, declare_pool
from tests.curation.made import make_item
from tests.curation.rules import make_rules


def _pool() -> PoolConfig:
    sources = {"one": declare(origin="A", licence="MIT"), "two": declare(origin="B", licence="CC0")}
    return declare_pool("x", sources=sources)


def _curation() -> Curation:
    items = [
        make_item("a b", source="one", domain="d", thinking="1 2 3", is_correct=True),
        make_item("a b c", source="one", domain="e", thinking="1"),
        make_item("a", source="two", domain="d", thinking="1 2"),
    ]
    step = FunnelStep(
        name="difficulty",
        num_in=9,
        num_out=3,
        reasons=(("level_too_low", 6),),
        sources=(("two", 6),),
        stand_in="levels stand in",
    )
    return Curation(
        selected=tuple(item.trace for item in items),
        sources=tuple(item.source for item in items),
        lengths=(3, 1, 2),
        funnel=Funnel(steps=(step,)),
    )


def test_card_counts_sources_domains_grades_and_lengths() -> None:
    protected = [
        ProtectedQuestion(benchmark="b", item=str(number), text="t", is_private=False)
        for number in range(4)
    ]

    card = describe_card(
        _curation(),
        pool=_pool(),
        protected=protected,
        count_tokens=lambda text: len(text.split()),
        unit="words",
    )

    assert card["sources"] == [
        {"name": "one", "origin": "A", "licence": "MIT", "num_questions": 2},
        {"name": "two", "origin": "B", "licence": "CC0", "num_questions": 1},
    ]
    assert card["domains"] == dict(Counter(["d", "e", "d"]))
    assert card["grades"] == {"not graded": 2, "correct": 1}
    assert card["lengths"]["thinking_words"] == {
        "shortest": 1,
        "median": 2,
        "longest": 3,
        "sum": 6,
    }
    assert card["kept_out"] == {"b": 4}
    assert card["stand_ins"] == ["difficulty: levels stand in"]


def _declare_mixed_pool(root: Path) -> PoolConfig:
    """Fifty questions: of a generator, and of two files of traces that name one source."""
    sums = {"kind": "running_sums", "num_questions": 20, "seed": 1, "sums": SUMS}
    sources = {"sums": {**sums, "origin": "made", "licence": "MIT"}}
    for name, number in (("old", 18), ("new", 12)):
        items = [make_item(f"{name} question {n}", source="older") for n in range(number)]
        (root / f"{name}.jsonl").write_text(format_traces(item.trace for item in items))
        traces = {"kind": "traces", "files": (f"{name}.jsonl",)}
        sources[name] = {**traces, "origin": f"{name} teacher", "licence": f"{name} terms"}
    return declare_pool(str(root), sources=sources)


def test_card_credits_each_source_of_the_pool_whatever_its_questions_name(tmp_path: Path) -> None:
    pool = _declare_mixed_pool(tmp_path)
    curation = curate(
        Pool(pool),
        protected=[],
        verdicts={},
        labels=None,
        count_tokens=len,
        rules=make_rules(),
        reject=lambda _: None,
    )

    card = describe_card(curation, pool=pool, protected=[], count_tokens=len, unit="tokens")

    assert card["sources"] == [
        {"name": "sums", "origin": "made", "licence": "MIT", "num_questions": 20},
        {"name": "older", "origin": "old teacher", "licence": "old terms", "num_questions": 18},
        {"name": "older", "origin": "new teacher", "licence": "new terms", "num_questions": 12},
    ]


def test_card_reads_as_markdown() -> None:
    card = describe_card(_curation(), pool=_pool(), protected=[], count_tokens=len, unit="tokens")

    text = render_card(card, title="s1k")

    assert text.startswith("# s1k\n\n3 questions.\n")
    assert "\n- name one, origin A, licence MIT, num questions 2\n" in text
    assert "\n- difficulty: levels stand in\n" in text
    assert "\n## Kept out\n\nNone.\n" in text


def test_funnel_describes_every_step() -> None:
    assert _curation().funnel.describe() == {
        "steps": [
            {
                "name": "difficulty",
                "in": 9,
                "out": 3,
                "reasons": {"level_too_low": 6},
                "dropped_by_source": {"two": 6},
                "stand_in": "levels stand in",
            }
        ]
    }
