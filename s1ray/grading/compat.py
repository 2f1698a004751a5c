r"""Grading as s1's harness does it where no judge is configured, faults included.

What differs from the layered grader: the last ``\boxed`` may be ``\boxed 5`` up to a dollar sign,
"Answer:" takes everything after its first match, an unparsed letter counts as "A", and answers
are compared as strings unless both are digits. The harness fails on ``\fbox``; here its content
is compared like any other string.

Source: simplescaling/s1@77272c6 eval/lm-evaluation-harness/lm_eval/tasks/{aime,openai_math,gpqa}.
"""

import re

from s1ray.chat_format import DELIMITERS
from s1ray.records import AnswerKind, GradedAnswer, Verdict

_ANSWER = re.compile(r"(?i)Answer\s*:\s*(.*)", re.DOTALL)
_LETTERS = ("A", "B", "C", "D")


def grade_like_s1(text: str, *, gold: str, kind: AnswerKind) -> GradedAnswer:
    """Return the verdict of s1's rules; never "no answer", which they do not know."""
    answer = _extract(_find_answer_part(text))
    layer = "string"
    if kind is AnswerKind.LETTER:
        layer = "letter"
        answer = answer.upper() if answer.upper() in _LETTERS else "A"
    elif answer.isdecimal() and gold.isdecimal():
        layer = "integer"
        answer, gold = answer.lstrip("0") or "0", gold.lstrip("0") or "0"
    verdict = Verdict.CORRECT if answer == gold else Verdict.INCORRECT
    return GradedAnswer(verdict=verdict, extracted=answer, layer=layer)


def _find_answer_part(text: str) -> str:
    delimiters = DELIMITERS["s1"]
    opener = delimiters.thinking_end + delimiters.answer_separator
    if opener in text:
        return text.rpartition(opener)[2]
    if delimiters.thinking_stop in text:
        last = text.rpartition(delimiters.thinking_stop)[2]
        return last.partition("\n")[2] if "\n" in last else last
    return text


def _extract(part: str) -> str:
    box = _find_last_box(part)
    if box is not None:
        return box
    match = _ANSWER.search(part)
    return part if match is None else match.group(1)


def _find_last_box(part: str) -> str | None:
    if "\\boxed " in part:
        return part.rpartition("\\boxed ")[2].partition("$")[0]
    start = part.rfind("\\boxed")
    start = start if start >= 0 else part.rfind("\\fbox")
    if start < 0:
        return None
    depth = 0
    for index in range(start, len(part)):
        depth += {"{": 1, "}": -1}.get(part[index], 0)
        if part[index] == "}" and depth == 0:
            return part[part.index("{", start) + 1 : index]
    return None
