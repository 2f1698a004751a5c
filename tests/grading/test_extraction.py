import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s1ray.config.grading import GradingConfig
from s1ray.grading.extraction import extract_answer, find_answer_part, read_letter
from s1ray.records import AnswerKind
from tests.grading.settings import read_grading

LAYERED = read_grading("layered")
STORED = read_grading("stored")


def extract(
    text: str, kind: AnswerKind = AnswerKind.MATH, config: GradingConfig = LAYERED
) -> str | None:
    return extract_answer(
        text, kind=kind, forms=config.forms, max_bare_characters=config.max_bare_characters
    )


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"),
        (r"\boxed{\left\{ 1, 2 \right.}", r"\left\{ 1, 2 \right."),
        (r"\boxed{2} and \boxed{3}", "3"),
        (r"\fbox{5}", "5"),
        (r"\boxed{4} then \fbox{5}", "5"),
        (r"$\boxed 7$", "7"),
        (r"\boxed  {8}", "8"),
        (r"\\boxed{9}", "9"),
        (r"\boxed{3} but \boxed{\frac{1}{2", "3"),
        (r"\frac{1 \boxed{5}", "5"),
        (r"\boxed{12} Answer: 13", "12"),
        (r"\boxed{\boxed{6}}", r"\boxed{6}"),
    ],
)
def test_box_is_found(text: str, answer: str) -> None:
    assert extract(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("\nFinal Answer: 42", "42"),
        ("\nAnswer: 42", "42"),
        ("Final Answer:\n\n42\n", "42"),
        ("Final Answer: 42\n\nBecause 6 * 7 = 42.", "42"),
        ("**Final Answer:** 42", "42"),
        ("## Final Answer\n42", "42"),
        ("The final answer is 42. It is even.", "42"),
        ("**Answer**: 3/4", "3/4"),
        ("ANSWER: 1\nmore\nanswer: 2", "2"),
        ("Answer: Here is the solution:\n\n10", "10"),
        ("Answer: 1\nFinal Answer: 2\nAnswer: 3", "2"),
        ("Answer: The answer is 7.", "7."),
        ("Final Answer:\n\\[\n x = 5\n\\]\nwhich ends it", "x = 5"),
        ("Final Answer: 42<|im_end|>", "42"),
        ("<answer>4</answer> <answer> 5 </answer>", "5"),
        ("<answer>6", "6"),
        ("<answer>6</answer> Answer: 7", "6"),
        ("42", "42"),
        ("The answer is 42.", "42."),
    ],
)
def test_label_is_found(text: str, answer: str) -> None:
    assert extract(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        r"\boxed{}",
        r"\boxed{4} and then \boxed{}, which is empty" + "." * 80,
        "Final Answer:",
        "Final Answer: 4\nFinal Answer:",
        r"\boxed{\frac{1}{2}" + " and so on, without an end" * 9,
        "first line\nsecond line",
        "a text without a label, " * 9,
    ],
)
def test_text_without_an_answer_gives_none(text: str) -> None:
    assert extract(text) is None


def test_labels_of_other_systems_count_only_where_the_configuration_admits_them() -> None:
    lines = "6 * 7 = <<6*7=42>>42\n"
    assert extract(lines + "#### 42", config=STORED) == "42"
    assert extract(lines + "A: 42", config=STORED) == "42"
    assert extract(lines + "#### 42") is None
    assert extract(lines + "A: 42") is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("<think>Answer: 1</think>\n\nAnswer: 2", "\n\nAnswer: 2"),
        ("Answer: 1</think>Answer: 2", "Answer: 2"),
        ("<think>a</think>b<think>c</think>Answer: 3", "Answer: 3"),
        ("<think>Answer: 1 and never an end", ""),
        ("<|im_start|>think\nAnswer: 1\n<|im_start|>answer\nAnswer: 2", "\nAnswer: 2"),
        ("<|im_start|>think\nAnswer: 1", ""),
        ("Answer: 5", "Answer: 5"),
    ],
)
def test_answer_part_excludes_thinking(text: str, part: str) -> None:
    assert find_answer_part(text) == part


def test_thinking_without_an_end_has_no_answer() -> None:
    assert extract(r"<think>I guess \boxed{5}") is None


@pytest.mark.parametrize(
    ("segment", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(C)", "C"),
        (r"\text{(D)}", "D"),
        (r"\textbf{C}.", "C"),
        ("**A**", "A"),
        ("A.", "A"),
        ("B) 9.8 m/s", "B"),
        ("(b) 9.8 m/s", "B"),
        ("D: the last one", "D"),
        ("option C", "C"),
        ("The correct answer is (C).", "C"),
        ("B because it fits", "B"),
        ("A is right", "A"),
        ("A cat", None),
        ("I think so", None),
        ("A and B", None),
        ("C, D", None),
        ("Both", None),
        ("42", None),
        ("", None),
    ],
)
def test_letter_is_read(segment: str, letter: str | None) -> None:
    assert read_letter(segment) == letter


def test_letter_is_looked_for_in_the_next_form_where_a_box_holds_none() -> None:
    assert extract(r"It is \boxed{9.8}. Answer: B", kind=AnswerKind.LETTER) == "B"


def test_unparsed_letter_is_no_answer() -> None:
    assert extract("Final Answer: none of these", kind=AnswerKind.LETTER) is None


@given(st.text(alphabet=st.sampled_from("\\boxed{}fanswer:<>/ \n#A$["), max_size=300))
def test_any_text_is_survived(text: str) -> None:
    for kind in AnswerKind:
        answer = extract(text, kind=kind, config=STORED)
        assert answer is None or answer.strip()


@pytest.mark.parametrize(
    "piece", ["\\boxed{", "<answer>", "Answer: \\[", "{", "\\", "final answer\t"]
)
@pytest.mark.parametrize("kind", [AnswerKind.MATH, AnswerKind.LETTER])
def test_time_is_linear_in_hostile_texts(piece: str, kind: AnswerKind) -> None:
    short, long = (time_extraction(piece * number, kind) for number in (10_000, 40_000))
    assert long < 8 * short  # four times as long a text: linear takes 4 times, quadratic 16


def time_extraction(text: str, kind: AnswerKind) -> float:
    """Return the processor seconds of the quickest of some tries, the least disturbed one."""
    seconds = []
    for _ in range(3):
        start = time.thread_time()
        extract(text, kind=kind)
        seconds.append(time.thread_time() - start)
    return min(seconds)
