import pytest

from s1ray.config.curation import (
    NoDifficultyConfig,
    OverlapDecontaminationConfig,
    PlainSelectionConfig,
    QualityConfig,
    S1DecontaminationConfig,
    SourceDiversityConfig,
)
from s1ray.curation.funnel import FunnelRecorder
from s1ray.curation.pool.items import PoolItem, RefusedRow, Rejection
from s1ray.curation.screening.screening import CurationRules
from tests.curation.composed import screen_pool
from tests.curation.made import make_item

S1 = S1DecontaminationConfig(mode="s1", ngram_size=8, against_earlier_sources=True)
OVERLAP = OverlapDecontaminationConfig(
    mode="overlap", ngram_size=8, min_overlap=0.6, max_ngram_questions=10, near_duplicates=None
)


def _rules(
    decontamination: S1DecontaminationConfig | OverlapDecontaminationConfig = OVERLAP,
    *,
    max_duplicate_fraction: float = 0.5,
) -> CurationRules:
    return CurationRules(
        max_duplicate_fraction=max_duplicate_fraction,
        decontamination=decontamination,
        quality=QualityConfig(filters=(), asymptote_sources=(), max_part=1),
        difficulty=NoDifficultyConfig(kind="none"),
        diversity=SourceDiversityConfig(kind="source"),
        selection=PlainSelectionConfig(
            kind="random", num_questions=1, seed=1, length="thinking_words", after_difficulty=False
        ),
    )


def _screen(
    pool: list[PoolItem | RefusedRow], rules: CurationRules
) -> tuple[list[str], list[Rejection], dict[str, tuple[int, int]]]:
    rejections: list[Rejection] = []
    recorder = FunnelRecorder(reject=rejections.append)
    kept = [
        item.trace.question.text
        for item in screen_pool(pool, protected=[], rules=rules, recorder=recorder)
    ]
    steps = {step.name: (step.num_in, step.num_out) for step in recorder.finish().steps}
    return kept, rejections, steps


def test_refused_rows_are_counted_and_handed_on_with_their_place() -> None:
    refused = RefusedRow(reason="image", detail="d", source="src", origin="f:3", is_bad=True)

    kept, rejections, steps = _screen([make_item("a"), refused, make_item("b")], _rules())

    assert kept == ["a", "b"]
    assert steps["sources"] == (3, 2)
    assert [(item.step, item.reason, item.origin, item.id) for item in rejections] == [
        ("sources", "image", "f:3", None)
    ]


def test_typesetting_hides_a_duplicate_from_s1s_mode_alone() -> None:
    pool = [make_item("Find $x$."), make_item("find x"), make_item("Find y")]

    assert _screen(list(pool), _rules(S1))[0] == ["Find $x$.", "find x", "Find y"]
    assert _screen(list(pool), _rules(OVERLAP))[0] == ["Find $x$.", "Find y"]


def test_too_many_duplicates_stop_the_pool() -> None:
    pool: list[PoolItem | RefusedRow] = [
        make_item(text, source=name) for name in ("a", "b") for text in ("x", "y")
    ]

    assert len(_screen(pool, _rules(max_duplicate_fraction=0.5))[0]) == 2
    with pytest.raises(ValueError, match=r"2 of the pool's 4 questions repeat another one"):
        _screen(pool, _rules(max_duplicate_fraction=0.4))


def test_screening_reads_no_further_than_it_is_asked() -> None:
    class Endless:
        """Counts how far it was read; never ends."""

        num_read = 0

        def __iter__(self) -> "Endless":
            return Endless()

        def __next__(self) -> PoolItem:
            Endless.num_read += 1
            return make_item(f"question {Endless.num_read}")

    class Pool:
        def __iter__(self) -> Endless:
            return Endless()

    recorder = FunnelRecorder(reject=lambda _: None)
    screened = screen_pool(Pool(), protected=[], rules=_rules(S1), recorder=recorder)

    first = [next(screened).trace.question.text for _ in range(3)]

    assert first == ["question 1", "question 2", "question 3"]
    assert Endless.num_read == 3
