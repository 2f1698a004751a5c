"""Every trap of grading that is known, as one text and one gold answer each."""

import time

import pytest

from s1ray.grading.grader import grade_answer, start_grading
from s1ray.records import AnswerKind, GradedAnswer, Verdict
from tests.grading.settings import read_grading

LAYERED = read_grading("layered")


def grade(text: str, gold: str, kind: AnswerKind = AnswerKind.MATH) -> GradedAnswer:
    return grade_answer(text, gold=gold, kind=kind, config=LAYERED, judge=None)


@pytest.mark.parametrize(
    ("gold", "answer", "layer"),
    [
        ("8", r"8\%", "integer"),
        (r"8\%", "8", "integer"),
        (r"8\%", "0.08", "number"),
        ("0.08", r"8\%", "number"),
        (r"\frac{1}{8}", r"12.5\%", "number"),
        ("1000", r"1\,000", "integer"),
        ("1000", "1{,}000", "integer"),
        ("1000", "1,000", "integer"),
        ("12", r"12^{\mathrm{th}}", "integer"),
        ("5", r"\fbox{5}", "integer"),
        ("5", r"5\text{ a.m.}", "integer"),
        ("40", r"40 \text{ feet}", "integer"),
        ("1320", "1320 km", "integer"),
        ("5", "5 m", "integer"),
        ("120", r"120^\circ", "integer"),
        ("18.90", r"\$18.9", "number"),
        (r"\frac{1}{2}", "0.5", "number"),
        (r"\frac{1}{3}", "0.333333", "number"),
        (r"\text{Evelyn}", "Evelyn", "string"),
        ("x^2-2x+2", "x^2 - 2x + 2", "string"),
        (r"2+\sqrt{3}", r"\sqrt{3} + 2", "math_verify"),
        ("5", "x=5", "math_verify"),
        ("1,2", "2,1", "math_verify"),
        (r"(-\infty,1)\cup(1,\infty)", r"(1,\infty)\cup(-\infty,1)", "math_verify"),
        ("315", r"\frac{7!}{16}", "math_verify"),
        (
            r"\begin{pmatrix} -1/3 \\ 2/3 \end{pmatrix}",
            r"\begin{bmatrix} -\frac{1}{3} \\ \frac{2}{3} \end{bmatrix}",
            "math_verify",
        ),
        (r"11\sqrt{2}", "11\u221a2", "string"),
        ("42", "042", "integer"),
        ("142.0", "142", "integer"),
        ("-3", "\u22123", "integer"),
    ],
)
def test_equal_answers_are_correct(gold: str, answer: str, layer: str) -> None:
    graded = grade(rf"so \boxed{{{answer}}}", gold)
    assert (graded.verdict, graded.layer) == (Verdict.CORRECT, layer)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("1", "100"),
        ("800", "8"),
        ("1800", "18"),
        (r"8\%", "800"),
        (r"[1,\infty)", r"(1,\infty)"),
        ("[1,2]", "(1,2)"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 & 2 \end{pmatrix}"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 2 \\ 1 \end{pmatrix}"),
        (r"\{1,2\}", "(1,2)"),
        ("(1,2)", "(2,1)"),
        (r"(-\infty,1)\cup(1,\infty)", r"(-\infty,1]\cup(1,\infty)"),
        ("5 a.m.", "5 p.m."),
        ("5 feet", "5 inches"),
        ("5", "5m"),
        (r"\$5", "5 cents"),
        ("x^2+3t", "x^2+3"),
        (r"\frac{1}{3}", "0.333"),
        ("2.4e-19", "4.5e-18"),
        ("0x6e8d", "-0x1173"),
        ("12", "1 2"),
        ("4", "2+1"),
    ],
)
def test_different_answers_are_incorrect(gold: str, answer: str) -> None:
    assert grade(rf"\boxed{{{answer}}}", gold).verdict is Verdict.INCORRECT


def test_last_box_counts_for_a_single_answer() -> None:
    text = r"either \boxed{2} and \boxed{3}"
    assert grade(text, "3").verdict is Verdict.CORRECT
    assert grade(text, "2,3").verdict is Verdict.INCORRECT


@pytest.mark.parametrize(
    ("text", "extracted"),
    [
        ("Final Answer: 42", "42"),
        ("Answer: x = 42", "x = 42"),
        ("Final Answer: 6 * 7 = 42", "6 * 7 = 42"),
        ("Final Answer: There are 42 ducks", "42 ducks"),
        ("Final Answer: 42 ducks in all", "42 ducks in all"),
        (r"\boxed{\frac{84}{2}}", r"\frac{84}{2}"),
        ("Final Answer: 42 (since 6 * 7 = 42)", "42 (since 6 * 7 = 42)"),
        ("Final Answer: $42", "$42"),
        ("Final Answer: 42.0", "42.0"),
        (r"\boxed{042}", "042"),
    ],
)
def test_integer_is_read_from_what_surrounds_it(text: str, extracted: str) -> None:
    graded = grade(text, "42", AnswerKind.INTEGER)
    assert (graded.verdict, graded.layer) == (Verdict.CORRECT, "integer")
    assert graded.extracted == extracted


@pytest.mark.parametrize("answer", ["42!", "4 2", "42.5", "2^{42}", "6 or 42"])
def test_integer_question_knows_no_algebra(answer: str) -> None:
    graded = grade(rf"\boxed{{{answer}}}", "42", AnswerKind.INTEGER)
    assert (graded.verdict, graded.layer) == (Verdict.INCORRECT, "string")


@pytest.mark.parametrize(
    ("text", "verdict"), [("Answer: B", "correct"), ("Answer: C", "incorrect")]
)
def test_multiple_choice_is_decided_by_the_letter(text: str, verdict: str) -> None:
    graded = grade(text, "B", AnswerKind.LETTER)
    assert (graded.verdict, graded.layer) == (verdict, "letter")


def test_multiple_choice_without_a_letter_gets_no_credit() -> None:
    graded = grade("Final Answer: about 9.8", "A", AnswerKind.LETTER)
    assert (graded.verdict, graded.extracted) == (Verdict.NO_ANSWER, None)


@pytest.mark.parametrize(
    ("gold", "answer", "verdict"),
    [
        ("The sky", "the  sky.", "correct"),
        ("3 8 1 2", "3812", "incorrect"),
        ("a b", "ab", "incorrect"),
    ],
)
def test_text_is_compared_without_case_and_idle_spaces(
    gold: str, answer: str, verdict: str
) -> None:
    graded = grade(f"<answer>{answer}</answer>", gold, AnswerKind.TEXT)
    assert (graded.verdict, graded.layer) == (verdict, "string")


@pytest.mark.parametrize(
    ("gold", "kind"),
    [
        ("", "math"),
        ("  ", "math"),
        ("$$", "math"),
        ("many", "integer"),
        ("1.5", "integer"),
        ("7", "letter"),
    ],
)
def test_bad_gold_is_an_error_of_its_own(gold: str, kind: str) -> None:
    graded = grade(r"Answer: A", gold, AnswerKind(kind))
    assert (graded.verdict, graded.layer) == (Verdict.GOLD_ERROR, None)


def test_no_answer_is_a_verdict_of_its_own() -> None:
    graded = grade("I do not know.\nI really do not.", "5")
    assert graded == GradedAnswer(verdict=Verdict.NO_ANSWER, extracted=None, layer=None)


def test_thinking_is_never_graded() -> None:
    text = r"<|im_start|>think" "\n\\boxed{5}\n<|im_start|>answer\nFinal Answer: 6"
    assert grade(text, "5").verdict is Verdict.INCORRECT
    assert grade(text, "6").verdict is Verdict.CORRECT


@pytest.mark.parametrize("answer", ["9" * 5000, "(" * 100 + "1" + ")" * 100])
def test_oversized_answer_is_compared_as_a_string_only(answer: str) -> None:
    for kind in (AnswerKind.MATH, AnswerKind.INTEGER):
        graded = grade(rf"\boxed{{{answer}}}", "5", kind)
        assert (graded.verdict, graded.layer) == (Verdict.INCORRECT, "string")


@pytest.mark.parametrize("answer", ["5" + " " * 400 + "x", r"\text{" * 4000 + "5" + "}" * 4000])
@pytest.mark.parametrize("kind", [AnswerKind.MATH, AnswerKind.INTEGER, AnswerKind.TEXT])
def test_hostile_answer_holds_nobody_up(answer: str, kind: AnswerKind) -> None:
    start = time.thread_time()
    start_grading(rf"\boxed{{{answer}}}", gold="7", kind=kind, config=LAYERED)
    assert time.thread_time() - start < 2.0  # milliseconds; patterns that go back take many seconds


def test_gold_that_is_no_mathematics_is_left_to_the_string_layer() -> None:
    graded = grade(r"\boxed{\text{Tuesday at noon}}", r"\sqrt{\frac{q}{}}")
    assert (graded.verdict, graded.layer) == (Verdict.INCORRECT, "string")


def test_judge_has_the_last_word_on_what_no_layer_found_equal() -> None:
    def judge(*, gold: str, answer: str) -> bool:
        return (gold, answer) == ("four", "4 exactly")

    graded = grade_answer(
        "Answer: 4 exactly", gold="four", kind=AnswerKind.TEXT, config=LAYERED, judge=judge
    )
    assert (graded.verdict, graded.layer) == (Verdict.CORRECT, "judge")


def test_judge_is_not_asked_about_correct_or_missing_answers() -> None:
    def judge(*, gold: str, answer: str) -> bool:
        raise AssertionError(gold, answer)

    for text, verdict in (("Answer: 4", Verdict.CORRECT), ("", Verdict.NO_ANSWER)):
        graded = grade_answer(text, gold="4", kind=AnswerKind.INTEGER, config=LAYERED, judge=judge)
        assert graded.verdict is verdict
