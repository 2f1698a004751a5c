import random

import pytest

from s1ray.config.curation import (
    NearDuplicatesConfig,
    OverlapDecontaminationConfig,
    S1DecontaminationConfig,
)
from s1ray.curation.pool.items import PoolItem, ProtectedQuestion
from s1ray.curation.screening.decontamination import (
    count_ngrams,
    find_boilerplate,
    find_overlap_reason,
    find_s1_reason,
    index_protected,
    index_s1,
    judge_contamination,
)
from s1ray.curation.screening.deduplication import Sketcher
from tests.curation.made import make_item

OVERLAP = OverlapDecontaminationConfig(
    mode="overlap", ngram_size=8, min_overlap=0.6, max_ngram_questions=10, near_duplicates=None
)
NEAR = NearDuplicatesConfig(min_similarity=0.8, shingle_words=3, num_permutations=128, seed=1)


def _protect(*texts: str, is_private: bool = False) -> list[ProtectedQuestion]:
    return [
        ProtectedQuestion(benchmark="bench", item=str(number), text=text, is_private=is_private)
        for number, text in enumerate(texts)
    ]


def _shares_ngram(first: str, second: str, size: int) -> bool:
    """Compare every run of words of two texts, the slow and plain way."""
    one, two = first.lower().strip().split(), second.lower().strip().split()
    return any(
        one[i : i + size] == two[j : j + size]
        for i in range(len(one) - size + 1)
        for j in range(len(two) - size + 1)
    )


def _keep_unlike_other_sources(pool: list[PoolItem], *, size: int) -> list[PoolItem]:
    """Compare every question with all that were kept before it, the slow and plain way."""
    kept: list[PoolItem] = []
    for item in pool:
        question = item.trace.question
        others = [
            other.trace.question.text
            for other in kept
            if other.trace.question.source != question.source
        ]
        if not any(_shares_ngram(question.text, other, size) for other in others):
            kept.append(item)
    return kept


def test_s1_mode_drops_exactly_what_shares_a_run_of_eight_words() -> None:
    rng = random.Random(4)
    texts = [" ".join(rng.choices(["a", "b", "C"], k=rng.randrange(4, 16))) for _ in range(120)]
    pool, protected = texts[:60], texts[60:]
    index = index_s1(_protect(*protected), ngram_size=8)

    dropped = [find_s1_reason(text, index=index) is not None for text in pool]

    assert dropped == [any(_shares_ngram(text, other, 8) for other in protected) for text in pool]
    assert 5 < sum(dropped) < 55


def test_s1_mode_never_matches_under_eight_words_and_the_other_mode_does() -> None:
    protected = _protect("What is $2^{10}$?")

    assert find_s1_reason("What is $2^{10}$?", index=index_s1(protected, ngram_size=8)) is None
    overlap = index_protected(protected, config=OVERLAP, boilerplate=())
    found = find_overlap_reason("what is  2^{10}", index=overlap)
    other = find_overlap_reason("What is $2^{11}$?", index=overlap)

    assert found is not None
    assert found.evidence["match"] == "same_words"
    assert other is None


def test_s1_mode_compares_a_source_with_those_before_it_but_not_with_itself() -> None:
    words = "one two three four five six seven eight nine"
    config = S1DecontaminationConfig(mode="s1", ngram_size=8, against_earlier_sources=True)
    judge = judge_contamination([], protected=[], config=config, sketcher=None)

    first = judge(make_item(f"{words} a", source="first"))
    same = judge(make_item(f"{words} b", source="first"))
    later = judge(make_item(f"{words} c", source="second"))

    assert (first, same) == (None, None)
    assert later is not None
    assert later.name == "earlier_source"


@pytest.mark.parametrize("is_mixed", [False, True])
def test_s1_mode_drops_what_shares_a_run_with_a_kept_question_of_another_source(
    *, is_mixed: bool
) -> None:
    rng = random.Random(6)
    pool = [
        make_item(" ".join(rng.choices("abc", k=rng.randrange(4, 14))), source=f"s{number // 30}")
        for number in range(90)
    ]
    if is_mixed:
        rng.shuffle(pool)
    config = S1DecontaminationConfig(mode="s1", ngram_size=6, against_earlier_sources=True)
    judge = judge_contamination([], protected=[], config=config, sketcher=None)

    kept = [item for item in pool if judge(item) is None]

    assert kept == _keep_unlike_other_sources(pool, size=6)
    assert 10 < len(kept) < 80


def test_s1_mode_never_compares_mixed_sources_with_themselves() -> None:
    words = {"first": "one two three four five six seven eight", "second": "a b c d e f g h"}
    config = S1DecontaminationConfig(mode="s1", ngram_size=8, against_earlier_sources=True)
    judge = judge_contamination([], protected=[], config=config, sketcher=None)

    reasons = [
        judge(make_item(f"{words[source]} {number}", source=source))
        for number, source in enumerate(["first", "second", "first", "second"])
    ]

    assert reasons == [None] * 4


def test_overlap_is_measured_against_the_shorter_question() -> None:
    protected = _protect("a b c d e f g h i j")
    index = index_protected(protected, config=OVERLAP, boilerplate=())

    two_of_three = find_overlap_reason("x x x x x x a b c d e f g h i x x x x", index=index)
    one_of_three = find_overlap_reason("x x x x x x a b c d e f g h x x x x x", index=index)

    assert two_of_three is not None
    assert two_of_three.evidence == {
        "benchmark": "bench",
        "item": "0",
        "match": "ngrams",
        "overlap": 0.6667,
        "ngrams": ["a b c d e f g h", "b c d e f g h i"],
    }
    assert one_of_three is None


def test_evidence_holds_no_words_of_a_private_question() -> None:
    protected = _protect("a b c d e f g h i j", is_private=True)
    text = "x x a b c d e f g h i j x x"

    overlap = find_overlap_reason(
        text, index=index_protected(protected, config=OVERLAP, boilerplate=())
    )
    any_run = find_s1_reason(text, index=index_s1(protected, ngram_size=8))

    assert overlap is not None
    assert any_run is not None
    assert overlap.evidence["item"] == any_run.evidence["item"] == "0"
    assert overlap.evidence["ngrams"] == any_run.evidence["ngrams"] == []


def test_overlap_ignores_boilerplate_that_many_questions_share() -> None:
    phrase = "where m and n are relatively prime positive integers find m plus n"
    pool = [f"question {'abcdefghijkl'[n] * 3} {phrase}" for n in range(12)]
    protected = _protect(f"some quite other start {phrase}")
    config = OverlapDecontaminationConfig(
        mode="overlap", ngram_size=8, min_overlap=0.3, max_ngram_questions=10, near_duplicates=None
    )
    blind = config.model_copy(update={"max_ngram_questions": 12})
    item = make_item(pool[0])

    def judge(rules: OverlapDecontaminationConfig) -> object:
        return judge_contamination(pool, protected=protected, config=rules, sketcher=None)(item)

    assert judge(config) is None
    assert judge(blind) is not None


def test_boilerplate_counts_add_up_over_batches() -> None:
    pool = ["a b c d", "a b c x", "a b c a b c", "y"]
    protected = {"a b c", "b c d"}

    whole = count_ngrams(pool, protected_ngrams=protected, ngram_size=3)
    parts = [count_ngrams([text], protected_ngrams=protected, ngram_size=3) for text in pool]

    assert dict(whole) == {"a b c": 3, "b c d": 1}
    assert sum(parts[1:], parts[0]) == whole
    assert find_boilerplate(whole, max_questions=2) == {"a b c"}


def test_near_duplicates_of_protected_questions_are_dropped() -> None:
    text = "How many ways are there to place six rooks on a board so that no two attack each other"
    changed = text.replace("rooks", "knights")
    config = OverlapDecontaminationConfig(
        mode="overlap", ngram_size=12, min_overlap=0.6, max_ngram_questions=10, near_duplicates=NEAR
    )
    lenient = NEAR.model_copy(update={"min_similarity": 0.5})
    rules = config.model_copy(update={"near_duplicates": lenient})

    judge = judge_contamination([], protected=_protect(text), config=rules, sketcher=Sketcher(NEAR))
    reason = judge(make_item(changed))

    assert reason is not None
    assert reason.evidence["match"] == "near"
    assert judge(make_item("Quite another question about circles and lines in the plane")) is None


@pytest.mark.parametrize("mode", ["s1", "overlap"])
def test_judging_is_the_same_one_by_one_and_in_any_order(mode: str) -> None:
    rng = random.Random(1)
    texts = [" ".join(rng.choices("abc", k=12)) for _ in range(80)]
    items: list[PoolItem] = [make_item(text) for text in texts[:40]]
    config = (
        S1DecontaminationConfig(mode="s1", ngram_size=8, against_earlier_sources=False)
        if mode == "s1"
        else OverlapDecontaminationConfig(
            mode="overlap",
            ngram_size=8,
            min_overlap=0.5,
            max_ngram_questions=9,
            near_duplicates=None,
        )
    )

    def judge(order: list[PoolItem]) -> dict[str, bool]:
        decide = judge_contamination(
            texts[:40], protected=_protect(*texts[40:]), config=config, sketcher=None
        )
        return {item.origin: decide(item) is None for item in order}

    assert judge(items) == judge(items[::-1])
