"""One row of a source becomes one pool item, or is refused with the reason.

Every function is pure and knows one row; which file it came from is only a label here.
"""

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from s1ray.config.pool import (
    ColumnsConfig,
    CutConfig,
    KeepConfig,
    OptionsConfig,
    RowsSourceConfig,
    TraceConfig,
)
from s1ray.curation.pool.files import RawRow
from s1ray.curation.pool.items import PoolItem, RefusedRow
from s1ray.records import AnswerKind, Question, ReasoningTrace

NO_TEACHER = "none"
SOLUTION_TEACHER = "worked solution"

_FIELD = re.compile(r"\{([^{}]+)\}")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SHOWN_CHARACTERS = 80
_GRADES: dict[object, bool | None] = {
    None: None,
    True: True,
    False: False,
    "Yes": True,
    "No": False,
}
"""Yes and No are the last lines of s1's grader (simplescaling/s1 data/grading.txt)."""
_TRACE = TypeAdapter(ReasoningTrace)
_LINES, _COMMAS = "\n", ", "


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLimits:
    """What makes a question unusable, whatever its source."""

    max_question_characters: int
    image_markers: Collection[str]


class _BadRowError(ValueError):
    """Carries the reason's name and what was found."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self.name = name


def build_item(
    row: RawRow, *, source: RowsSourceConfig, name: str, limits: RowLimits
) -> PoolItem | RefusedRow:
    """Return the row's item, or why it is refused.

    Args:
        row: As read.
        source: How to read it.
        name: The source's, as the pool calls it.
        limits: Of the pool.
    """
    origin = _spell_origin(row, name=name)
    try:
        if row.content is None:
            raise _BadRowError("malformed", row.error or "")  # noqa: TRY301 - one exit for all
        columns = _extend(row.content, row=row, source=source)
        if not all(passes_filter(columns, rule=rule) for rule in source.keep):
            return RefusedRow(
                reason="left_out", detail="", source=name, origin=origin, is_bad=False
            )
        trace = _build_trace(columns, source=source, name=name, limits=limits)
        level = _read_level(columns, template=source.columns.level)
    except _BadRowError as error:
        return RefusedRow(
            reason=error.name, detail=str(error), source=name, origin=origin, is_bad=True
        )
    return PoolItem(trace=trace, source=name, origin=origin, level=level)


def read_item(row: RawRow, *, name: str, limits: RowLimits) -> PoolItem | RefusedRow:
    """Return the item of a row that is a reasoning trace already, or why it is refused.

    Args:
        row: As read.
        name: The pool's for the file; the question keeps the source it came from.
        limits: Of the pool.
    """
    origin = _spell_origin(row, name=name)
    try:
        trace = _TRACE.validate_python(row.content)
        check_text(trace.question.text, limits=limits)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        detail = f"{'.'.join(map(str, problem['loc']))}: {row.error or problem['msg']}"
        return RefusedRow(
            reason="malformed", detail=detail, source=name, origin=origin, is_bad=True
        )
    except _BadRowError as error:
        return RefusedRow(
            reason=error.name, detail=str(error), source=name, origin=origin, is_bad=True
        )
    return PoolItem(trace=trace, source=name, origin=origin, level=None)


def render(template: str, columns: Mapping[str, object], *, joiner: str) -> str:
    """Return a template with its columns filled in and white space stripped at both ends.

    Args:
        template: Text with ``{column}`` fields.
        columns: The row.
        joiner: Between the entries of a list.
    """
    text = _FIELD.sub(lambda match: _spell(look_up(columns, match.group(1)), joiner), template)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _BadRowError("malformed", f"{template}: half a surrogate pair") from error
    return text.strip()


def look_up(columns: Mapping[str, object], path: str) -> object:
    """Return a column's value.

    A dot looks inside an object or, with a number, a list; null holds nothing but null.
    """
    value: object = columns
    for key in path.split("."):
        if value is None:
            return None
        if isinstance(value, list) and key.isdigit():
            value = dict(enumerate(value)).get(int(key))
            continue
        if not isinstance(value, Mapping):
            raise _BadRowError("wrong_type", f"column {path}: {key} is looked for in no object")
        if key not in value:
            raise _BadRowError("missing_column", f"column {path}: no {key}")
        value = value[key]
    return value


def passes_filter(columns: Mapping[str, object], *, rule: KeepConfig) -> bool:
    """Return whether a row satisfies one condition of its source."""
    value = look_up(columns, rule.column)
    if rule.operator == "one_of":
        return value in rule.values
    if rule.operator == "none_of":
        return value not in rule.values
    try:
        number = float(str(value))
    except ValueError as error:
        raise _BadRowError("wrong_type", f"column {rule.column}: no number") from error
    bound = float(str(rule.values[0]))
    return number >= bound if rule.operator == "at_least" else number <= bound


def hash_question(text: str) -> str:
    """Return a question's id. Source: simplescaling/s1 data/featurization.py."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _spell_origin(row: RawRow, *, name: str) -> str:
    # The source's name and the directories as well: hubs name the files of every data set alike.
    return f"{name}:{row.file}:{row.number}"


def _extend(
    content: Mapping[str, object], *, row: RawRow, source: RowsSourceConfig
) -> dict[str, object]:
    file = row.file.rpartition("/")[2]
    columns: dict[str, object] = {**content, "_file": file, "_row": row.number}
    for name, cut in source.columns.cuts.items():
        columns[name] = _cut(_spell(look_up(columns, cut.column), _LINES), cut)
    if source.columns.options is not None:
        columns.update(_shuffle_options(columns, config=source.columns.options))
    return columns


def _cut(text: str, cut: CutConfig) -> str:
    if cut.after is not None:
        text = text.rpartition(cut.after)[2] if cut.after in text else ""
    if cut.before is not None:
        text = text.partition(cut.before)[0]
    return text


def _shuffle_options(columns: Mapping[str, object], *, config: OptionsConfig) -> dict[str, object]:
    texts = [
        _spell(look_up(columns, name), _LINES).strip() for name in (config.correct, *config.wrong)
    ]
    order = sorted(
        range(len(texts)),
        key=lambda index: hashlib.sha256(f"{config.seed}:{index}:{texts}".encode()).digest(),
    )
    lines = [f"({_LETTERS[place]}) {texts[index]}" for place, index in enumerate(order)]
    return {"options": "\n".join(lines), "option_letter": _LETTERS[order.index(0)]}


def _build_trace(
    columns: Mapping[str, object], *, source: RowsSourceConfig, name: str, limits: RowLimits
) -> ReasoningTrace:
    mapping = source.columns
    text = render(mapping.question, columns, joiner=_LINES)
    _check_question(text, columns=columns, mapping=mapping, limits=limits)
    answer = render(mapping.answer, columns, joiner=_COMMAS)
    if source.is_answer_required and not answer:
        raise _BadRowError("empty_answer", f"{mapping.answer} is empty")
    question = Question(
        id=hash_question(text),
        text=text,
        answer=answer,
        answer_kind=AnswerKind(source.answer_kind),
        source=name,
        domain=_render_optional(mapping.domain, columns),
        solution=_render_optional(mapping.solution, columns),
    )
    if source.trace is not None:
        return _read_trace(columns, question=question, config=source.trace)
    return ReasoningTrace(
        question=question,
        thinking=question.solution or "",
        answer=answer,
        teacher=SOLUTION_TEACHER if question.solution else NO_TEACHER,
        is_correct=None,
    )


def _check_question(
    text: str, *, columns: Mapping[str, object], mapping: ColumnsConfig, limits: RowLimits
) -> None:
    if not text:
        raise _BadRowError("empty_question", f"{mapping.question} is empty")
    for column in mapping.images:
        if look_up(columns, column) not in (None, ""):
            raise _BadRowError("image", f"column {column} holds an image")
    check_text(text, limits=limits)


def check_text(text: str, *, limits: RowLimits) -> None:
    """Refuse a question that is unusable whatever its source."""
    if not text.strip():
        raise _BadRowError("empty_question", "the question is empty")
    if len(text) > limits.max_question_characters:
        raise _BadRowError("over_long", f"{len(text)} characters")
    for marker in limits.image_markers:
        if marker in text:
            raise _BadRowError("image", f"the question holds {marker}")


def _read_trace(
    columns: Mapping[str, object], *, question: Question, config: TraceConfig
) -> ReasoningTrace:
    grade = None if config.correct is None else look_up(columns, config.correct)
    if not isinstance(grade, str | bool | None) or grade not in _GRADES:
        raise _BadRowError("wrong_type", f"column {config.correct}: no grade but {grade!r}")
    return ReasoningTrace(
        question=question,
        thinking=render(config.thinking, columns, joiner=_LINES),
        answer=render(config.answer, columns, joiner=_LINES),
        teacher=config.teacher,
        is_correct=_GRADES[grade],
    )


def _read_level(columns: Mapping[str, object], *, template: str | None) -> float | None:
    text = _render_optional(template, columns)
    if text is None:
        return None
    try:
        return float(text)
    except ValueError as error:
        shown = text[:_SHOWN_CHARACTERS]
        raise _BadRowError("wrong_type", f"level {template}: {shown!r} is no number") from error


def _render_optional(template: str | None, columns: Mapping[str, object]) -> str | None:
    return render(template, columns, joiner=_LINES) or None if template else None


def _spell(value: object, joiner: str) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return joiner.join(_spell(entry, joiner) for entry in value)
    if isinstance(value, Mapping):
        raise _BadRowError("wrong_type", "an object stands where a text is wanted")
    return str(value)
