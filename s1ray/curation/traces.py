"""Reasoning traces as JSON lines: what curation writes and training reads.

A file made elsewhere works as well, as long as its rows have the fields of ``ReasoningTrace``.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from s1ray.records import Question, ReasoningTrace

_ADAPTER = TypeAdapter(ReasoningTrace)
_QUESTION_ADAPTER = TypeAdapter(Question)


def format_traces(traces: Iterable[ReasoningTrace]) -> str:
    """Return traces as JSON lines."""
    rows = (json.dumps(asdict(trace), ensure_ascii=False, allow_nan=False) for trace in traces)
    return "".join(f"{row}\n" for row in rows)


def read_traces(path: Path) -> tuple[ReasoningTrace, ...]:
    """Return the traces of a file.

    Raises:
        ValueError: There is no such file, it holds no trace, or a row is malformed; the message
            names line and field.
    """
    return tuple(_read_row(line, where=where) for where, line in _list_lines(path))


def read_trace_questions(path: Path) -> tuple[Question, ...]:
    """Return the questions of a file of traces, whatever their thinking, each id once.

    Raises:
        ValueError: As ``read_traces``, though thinking and answer may be missing.
    """
    questions: dict[str, Question] = {}
    for where, line in _list_lines(path):
        try:
            content = json.loads(line)
            question = _QUESTION_ADAPTER.validate_python(content["question"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{where} holds no question: {error}. A row needs question (id, text, answer, "
                "answer_kind, source, domain, solution); correct or remove the row."
            ) from None
        questions.setdefault(question.id, question)
    return tuple(questions.values())


def _list_lines(path: Path) -> list[tuple[str, str]]:
    """Return a file's lines with their places."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"cannot read the traces in {path}: {error}. Set traces, or for jobs.distill "
            'questions, to a UTF-8 file with one JSON object a line; ARCHITECTURE.md, "Bring your '
            'own data", shows one.'
        ) from error
    lines = [(f"{path}:{number}", line) for number, line in enumerate(text.split("\n"), 1) if line]
    if not lines:
        raise ValueError(
            f"{path} holds no trace. Curate first (python -m jobs.curate), or point traces at "
            "a file with one JSON object a line."
        )
    return lines


def _read_row(line: str, *, where: str) -> ReasoningTrace:
    try:
        trace = _ADAPTER.validate_json(line)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in problem["loc"]) or "the row"
        raise ValueError(
            f"{where}: {field}: {problem['msg']}. A row needs question (id, text, answer, "
            "answer_kind, source, domain, solution), thinking, answer, teacher and is_correct; "
            "correct or remove the row."
        ) from None
    for name, value in (
        ("question.text", trace.question.text),
        ("thinking", trace.thinking),
        ("answer", trace.answer),
    ):
        if not value.strip():
            raise ValueError(f"{where}: {name} is empty. Correct or remove the row.")
    return trace
