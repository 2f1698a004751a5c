from collections import Counter

from s1ray.config.pool import PoolConfig
from s1ray.curation.card import describe_card, render_card
from s1ray.curation.curate import Curation
from s1ray.curation.funnel import Funnel, FunnelStep
from s1ray.curation.pool.items import ProtectedQuestion
from tests.curation.declared import declare, declare_pool
from tests.curation.made import make_item


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
        lengths=(3, 1, 2),
        funnel=Funnel(steps=(step,)),
    )


def test_card_counts_sources_domains_grades_and_lengths() -> None:
    protected = [ProtectedQuestion(benchmark="b", item=str(n), text="t") for n in range(4)]

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
