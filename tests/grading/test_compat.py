"""s1's rules, each against what its harness returns where no judge is configured."""

import pytest

from s1ray.grading.grader import grade_answer
from s1ray.records import AnswerKind, GradedAnswer
from tests.grading.settings import read_grading

S1 = read_grading("s1")


def grade(text: str, gold: str, kind: AnswerKind = AnswerKind.MATH) -> GradedAnswer:
    return grade_answer(text, gold=gold, kind=kind, config=S1, judge=None)


@pytest.mark.parametrize(
    ("text", "extracted"),
    [
        ("<|im_start|>think\nAnswer: 1\n<|im_start|>answer\nAnswer: 2", "2"),
        ("x<|im_start|>other\nAnswer: 3", "3"),
        (r"\boxed{1} \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"$\boxed 7$ and more", "7"),
        ("Answer: 4\nAnswer: 5", "4\nAnswer: 5"),
        ("Answer: Here:\n\n10", "Here:\n\n10"),
        (r"\boxed{1} Answer: 2 \boxed{\frac{1}", "2 \\boxed{\\frac{1}"),
        ("nothing", "nothing"),
    ],
)
def test_extraction_follows_s1(text: str, extracted: str) -> None:
    assert grade(text, "0").extracted == extracted


def test_digits_are_compared_as_integers() -> None:
    graded = grade(r"\boxed{023}", "23", AnswerKind.INTEGER)
    assert (graded.verdict, graded.layer) == ("correct", "integer")


@pytest.mark.parametrize(("answer", "verdict"), [("1/2", "incorrect"), (r"\frac{1}{2}", "correct")])
def test_all_else_is_compared_as_a_string(answer: str, verdict: str) -> None:
    graded = grade(rf"\boxed{{{answer}}}", r"\frac{1}{2}")
    assert (graded.verdict, graded.layer) == (verdict, "string")


@pytest.mark.parametrize("text", ["", "Answer: none of them", "Answer: A) 7"])
def test_unparsed_letter_counts_as_a(text: str) -> None:
    assert grade(text, "A", AnswerKind.LETTER).verdict == "correct"
    assert grade(text, "B", AnswerKind.LETTER).verdict == "incorrect"


def test_lower_case_letter_is_raised() -> None:
    assert grade("Answer: b", "B", AnswerKind.LETTER).verdict == "correct"
