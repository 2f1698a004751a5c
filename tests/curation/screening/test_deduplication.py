import random

from s1ray.config.curation import NearDuplicatesConfig
from s1ray.curation.screening.deduplication import NearIndex, Sketcher, judge_distinct, judge_near
from s1ray.curation.screening.words import list_ngrams, spell_key, split_words
from tests.curation.made import make_item

NEAR = NearDuplicatesConfig(min_similarity=0.8, shingle_words=3, num_permutations=128, seed=1)


def _jaccard(first: str, second: str) -> float:
    one = set(list_ngrams(split_words(first), size=3))
    two = set(list_ngrams(split_words(second), size=3))
    return len(one & two) / len(one | two)


def test_the_first_of_equal_questions_stays_and_the_others_name_it() -> None:
    judge = judge_distinct(spell_key)

    reasons = [judge(make_item(text)) for text in ("Find $x$.", "Find  x", "Find $y$.")]

    assert reasons[0] is None
    assert reasons[2] is None
    assert reasons[1] is not None
    assert reasons[1].evidence == {"first": "src:Find $x$."}


def test_exact_mode_keeps_texts_that_differ_in_typesetting() -> None:
    judge = judge_distinct(str)

    assert [judge(make_item(text)) is None for text in ("Find $x$.", "Find x.")] == [True, True]


def test_estimated_similarity_is_near_the_true_one() -> None:
    rng = random.Random(2)
    words = [f"w{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(300)]
    base = rng.choices(words, k=120)
    sketcher, index = Sketcher(NEAR), NearIndex(NEAR)
    sketch = sketcher.sketch(" ".join(base))
    assert sketch is not None
    index.add("base", sketch)

    for num_changed in (1, 2, 3):
        changed = " ".join([*base[:-num_changed], *["zz"] * num_changed])
        other = sketcher.sketch(changed)
        assert other is not None
        match = index.find(other)
        assert match is not None
        assert abs(match.similarity - _jaccard(" ".join(base), changed)) < 0.08


def test_near_duplicates_are_dropped_and_others_kept() -> None:
    rng = random.Random(3)
    words = [f"w{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(300)]
    texts = [" ".join(rng.choices(words, k=80)) for _ in range(30)]
    judge = judge_near(NEAR, sketcher=Sketcher(NEAR))

    originals = [judge(make_item(text)) for text in texts]
    copies = [judge(make_item(f"{text} indeed")) for text in texts]

    assert originals == [None] * 30
    assert [copy is not None and copy.evidence["first"] for copy in copies] == [
        f"src:{text}" for text in texts
    ]


def test_texts_too_short_to_sketch_are_kept() -> None:
    judge = judge_near(NEAR, sketcher=Sketcher(NEAR))

    assert [judge(make_item(text)) for text in ("one", "one ", "two words")] == [None] * 3
