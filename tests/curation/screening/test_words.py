import pytest

from s1ray.curation.screening.words import list_ngrams, spell_key, split_words, split_words_s1


def test_s1_words_keep_punctuation_and_fold_case_and_spaces() -> None:
    assert split_words_s1("  What's\n  $X$? ") == ["what's", "$x$?"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (r"Find $\dfrac{1}{2}$.", r"find  \(\frac12\)"),
        (r"$f\left(x\right) = 2x$", "f(x) = 2 x"),
        (r"Find $x,\, y$", "find $x, y$."),
    ],
)
def test_spellings_of_one_question_share_a_key(first: str, second: str) -> None:
    assert spell_key(first) == spell_key(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [("What is 3 + 5?", "What is 3 - 5?"), ("Find 1.5", "Find 15"), (r"\leftarrow a", "arrow a")],
)
def test_different_questions_have_different_keys(first: str, second: str) -> None:
    assert spell_key(first) != spell_key(second)


def test_ngrams_are_all_runs_of_words() -> None:
    words = split_words("a b c d")

    assert list(list_ngrams(words, size=3)) == ["a b c", "b c d"]
    assert list(list_ngrams(words, size=5)) == []
