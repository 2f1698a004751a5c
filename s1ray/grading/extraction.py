r"""From the text of a completion to the answer it gives.

Only the answer part counts, never the thinking. An answer is the last match of the first form
that matches at all, in a fixed order: ``\boxed``, ``<answer>``, "Final Answer:", "Answer:", and
where the configuration admits them "####", a line that starts with "A:", and a short text without
any label. Every search is linear in the text. This module does not know what a right answer is.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from s1ray.chat_format import DELIMITERS
from s1ray.config.grading import AnswerForm
from s1ray.records import AnswerKind

# A run of backslashes is looked at from its first alone, or it would be once from each.
_BOX_TOKEN = re.compile(r"(?<!\\)\\+(?:boxed|fbox)(?![A-Za-z])\s*|\\.|[{}]", re.DOTALL)
_BOX_WITHOUT_BRACES = re.compile(r"[-+]?[\w./]*\w")
_SPECIAL_TOKENS = re.compile(r"<\|[^|<>\s]*\|>")
_LABELS: dict[AnswerForm, re.Pattern[str]] = {
    "final_answer": re.compile(r"\bfinal\s+answer[*_\s]*(?::|\n|\bis\b:?)[*_]*", re.IGNORECASE),
    "answer": re.compile(r"\banswer[*_]*[ \t]*:[*_]*", re.IGNORECASE),
    "hashes": re.compile(r"####"),
    "short_label": re.compile(r"^A:", re.MULTILINE),
}
_ANSWER_TAG = re.compile(r"<answer>", re.IGNORECASE)
_ANSWER_TAG_END = re.compile(r"</answer>", re.IGNORECASE)
_UNFINISHED_BOX = re.compile(r"\\(?:boxed|fbox)")
_DISPLAY_MATH = {r"\[": r"\]", "$$": "$$"}
_ASSERTION = re.compile(r"^.*\b(?:is|are|equals)\b(?!\s+not\b):?\s+", re.IGNORECASE)
_NEXT_SENTENCE = re.compile(r"[.!]\s+(?=[A-Z][a-z]*\b[ ,])")
_LETTER_WORDS = re.compile(
    r"^(?:the|correct|best|answer|option|choice|is|so|therefore)\b[\s:,]*", re.IGNORECASE
)
_LETTER = re.compile(r"([A-J])(?![A-Za-z0-9])")
_LOWERCASE_OPTION = re.compile(r"([a-j])\)")
_SEVERAL_LETTERS = re.compile(r"[A-J][\s)\].]*(?:and|or|,|&)\s*[(\[]?[A-J]\b")
_ARTICLE = re.compile(r"[AI][ \t]+(?!(?:is|because|since)\b)\w")


def find_answer_part(text: str) -> str:
    """Return what follows the last end of thinking; empty where thinking never ended.

    A text without any delimiter of ``chat_format`` is an answer as a whole.
    """
    end = max(
        (
            found + len(delimiters.thinking_end)
            for delimiters in DELIMITERS.values()
            if (found := text.rfind(delimiters.thinking_end)) >= 0
        ),
        default=0,
    )
    starts = (text.find(delimiters.thinking_start, end) for delimiters in DELIMITERS.values())
    start = min((found for found in starts if found >= 0), default=len(text))
    return text[end:start]


def extract_answer(
    text: str, *, kind: AnswerKind, forms: Sequence[AnswerForm], max_bare_characters: int
) -> str | None:
    r"""Return the answer a text gives, as it spells it; a letter for multiple choice.

    Args:
        text: A completion's answer, or a whole completion with its delimiters.
        kind: Multiple choice looks for a letter in every form before it gives up; other kinds
            take the first form that matches.
        forms: The forms that count; their order here does not matter.
        max_bare_characters: Longest text that is an answer without a label.

    Returns:
        None where nothing in the answer part has one of the forms. A ``\boxed`` that is never
        closed is no match; an empty last match yields nothing, rather than an earlier one.
    """
    part = _SPECIAL_TOKENS.sub(" ", find_answer_part(text)).strip()
    is_labelled = False
    for form, find in _FINDERS.items():
        if form in forms:
            answer = _choose(find(part), kind=kind, is_prose=form != "boxed")
            if answer:
                return answer
            is_labelled = is_labelled or answer is not None
    is_bare = "bare" in forms and not is_labelled and len(part) <= max_bare_characters
    if not is_bare or "\n" in part or _UNFINISHED_BOX.search(part):
        return None
    return _choose(iter([part]), kind=kind, is_prose=True) or None


def read_letter(segment: str) -> str | None:
    r"""Return the one option letter, A to J, that an answer names: "B", "(b)", "\text{B}.", "B) 7".

    "A" and "I" before a word are taken for English, not for options.
    """
    bare = re.sub(r"\\(?:text|textbf|mathrm|mathbf|boxed|fbox)\b|[$*`\"'{}()\[\]\\]", " ", segment)
    bare = bare.strip(" \t\n.:,")
    if len(bare) == 1 and bare.upper() in "ABCDEFGHIJ":
        return bare.upper()
    rest = segment.lstrip(" \t\n$*`\"'{([\\")
    rest = re.sub(r"^(?:text|textbf|mathrm|mathbf)\{", "", rest)
    while (words := _LETTER_WORDS.match(rest)) is not None:
        rest = rest[words.end() :].lstrip(" \t$*`\"'{([\\")
    if match := _LOWERCASE_OPTION.match(rest):
        return match.group(1).upper()
    match = _LETTER.match(rest)
    if match is None or _SEVERAL_LETTERS.match(rest) or _ARTICLE.match(rest):
        return None
    return match.group(1)


def _choose(segments: Iterator[str], *, kind: AnswerKind, is_prose: bool) -> str | None:
    """Return the answer among a form's matches; empty where the last match is, None for none."""
    if kind is AnswerKind.LETTER:
        return next(filter(None, map(read_letter, segments)), None)
    segment = next(segments, None)
    is_trimmed = is_prose and kind is not AnswerKind.TEXT
    return _trim_prose(segment) if segment and is_trimmed else segment


def _find_boxes(text: str) -> Iterator[str]:
    contents: list[str] = []
    opened: list[int | None] = []
    box_at: int | None = None
    for token in _BOX_TOKEN.finditer(text):
        if token.group().lstrip("\\").startswith(("boxed", "fbox")):
            box_at = token.end()
            if match := _BOX_WITHOUT_BRACES.match(text, box_at):
                contents.append(match.group())
        elif token.group() == "{":
            opened.append(token.end() if box_at == token.start() else None)
        elif token.group() == "}" and opened:
            start = opened.pop()
            if start is not None:
                contents.append(text[start : token.start()].strip())
    return reversed(contents)


def _find_tags(text: str) -> Iterator[str]:
    for region in _split_after(text, _ANSWER_TAG):
        yield _ANSWER_TAG_END.split(region, maxsplit=1)[0].strip()


def _find_labels(form: AnswerForm) -> Callable[[str], Iterator[str]]:
    def find(text: str) -> Iterator[str]:
        return map(_read_segment, _split_after(text, _LABELS[form]))

    return find


def _split_after(text: str, pattern: re.Pattern[str]) -> Iterator[str]:
    """Yield what stands between each match and the next one, from the last to the first."""
    end = len(text)
    for match in reversed(list(pattern.finditer(text))):
        yield text[match.end() : end]
        end = match.start()


def _read_segment(region: str) -> str:
    """Return the line after a label; the next one where it is empty or only introduces."""
    lines = region.split("\n")
    for index, line in enumerate(lines):
        words = line.strip().strip("*_").strip()
        for opener, closer in _DISPLAY_MATH.items():
            if words.startswith(opener):
                rest = "\n".join([words, *lines[index + 1 :]])
                return rest[len(opener) :].partition(closer)[0].strip()
        if words and not words.endswith(":"):
            return words
    return ""


def _trim_prose(segment: str) -> str:
    """Return "7" for "The answer is 7. It is prime." and the like."""
    segment = _NEXT_SENTENCE.split(segment, maxsplit=1)[0]
    return _ASSERTION.sub("", segment, count=1).strip() or segment


_FINDERS: dict[AnswerForm, Callable[[str], Iterator[str]]] = {
    "boxed": _find_boxes,
    "answer_tag": _find_tags,
    "final_answer": _find_labels("final_answer"),
    "answer": _find_labels("answer"),
    "hashes": _find_labels("hashes"),
    "short_label": _find_labels("short_label"),
}
"""In the order in which they are tried; each yields its matches from the last to the first."""
