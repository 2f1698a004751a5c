"""One row of a source becomes one pool item, or is refused with the reason.

Every function is pure and knows one row; which file it came from is only a label here.
"""

import hashlib
import math
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
from s1ray.curation.pool.templates import (
    COMMAS,
    LINES,
    BadRowError,
    look_up,
    look_up_text,
    render,
    render_optional,
)
from s1ray.records import AnswerKind, Question, ReasoningTrace

NO_TEACHER = "none"
SOLUTION_TEACHER = "worked solution"

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLimits:
    """What makes a question unusable, whatever its source."""

    max_question_characters: int
    image_markers: Collection[str]


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
    if row.content is None:
        return _refuse("malformed", row.error or "", name=name, origin=origin)
    try:
        columns = _extend(row.content, row=row, source=source)
        failed = next((rule for rule in source.keep if not passes_filter(columns, rule=rule)), None)
        if failed is not None:
            found = repr(look_up(columns, failed.column))[:_SHOWN_CHARACTERS]
            detail = f"column {failed.column}: {found}"
            return RefusedRow(
                reason="left_out", detail=detail, source=name, origin=origin, is_bad=False
            )
        trace = _build_trace(columns, source=source, name=name, limits=limits)
        level = _read_level(columns, template=source.columns.level)
    except BadRowError as error:
        return _refuse(error.name, str(error), name=name, origin=origin)
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
        return _refuse("malformed", detail, name=name, origin=origin)
    except BadRowError as error:
        return _refuse(error.name, str(error), name=name, origin=origin)
    return PoolItem(trace=trace, source=name, origin=origin, level=None)


def passes_filter(columns: Mapping[str, object], *, rule: KeepConfig) -> bool:
    """Return whether a row satisfies one condition of its source.

    Raises:
        BadRowError: The column that has a bound holds no number.
    """
    value = look_up(columns, rule.column)
    if rule.operator == "one_of":
        return value in rule.values
    if rule.operator == "none_of":
        return value not in rule.values
    try:
        number = float(str(value))
    except ValueError as error:
        raise BadRowError("wrong_type", f"column {rule.column}: no number") from error
    bound = float(str(rule.values[0]))
    return number >= bound if rule.operator == "at_least" else number <= bound


def hash_question(text: str) -> str:
    """Return a question's id. Source: simplescaling/s1 data/featurization.py."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _refuse(reason: str, detail: str, *, name: str, origin: str) -> RefusedRow:
    return RefusedRow(reason=reason, detail=detail, source=name, origin=origin, is_bad=True)


def _spell_origin(row: RawRow, *, name: str) -> str:
    # The source's name and the directories as well: hubs name the files of every data set alike.
    return f"{name}:{row.file}:{row.number}"


def _extend(
    content: Mapping[str, object], *, row: RawRow, source: RowsSourceConfig
) -> dict[str, object]:
    file = row.file.rpartition("/")[2]
    columns: dict[str, object] = {**content, "_file": file, "_row": row.number}
    for name, cut in source.columns.cuts.items():
        columns[name] = _cut(look_up_text(columns, cut.column, LINES), cut)
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
    texts = [look_up_text(columns, name, LINES).strip() for name in (config.correct, *config.wrong)]
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
    text = render(mapping.question, columns, joiner=LINES)
    _check_question(text, columns=columns, mapping=mapping, limits=limits)
    answer = render(mapping.answer, columns, joiner=COMMAS)
    if source.is_answer_required and not answer:
        raise BadRowError("empty_answer", f"{mapping.answer} is empty")
    question = Question(
        id=hash_question(text),
        text=text,
        answer=answer,
        answer_kind=AnswerKind(source.answer_kind),
        source=name,
        domain=render_optional(mapping.domain, columns),
        solution=render_optional(mapping.solution, columns),
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
        raise BadRowError("empty_question", f"{mapping.question} is empty")
    for column in mapping.images:
        if look_up(columns, column) not in (None, ""):
            raise BadRowError("image", f"column {column} holds an image")
    check_text(text, limits=limits)


def check_text(text: str, *, limits: RowLimits) -> None:
    """Refuse a question that is unusable whatever its source.

    Raises:
        BadRowError: It is empty, too long, or one about an image.
    """
    if not text.strip():
        raise BadRowError("empty_question", "the question is empty")
    if len(text) > limits.max_question_characters:
        raise BadRowError("over_long", f"{len(text)} characters")
    for marker in limits.image_markers:
        if marker in text:
            raise BadRowError("image", f"the question holds {marker}")


def _read_trace(
    columns: Mapping[str, object], *, question: Question, config: TraceConfig
) -> ReasoningTrace:
    grade = None if config.correct is None else look_up(columns, config.correct)
    if not isinstance(grade, str | bool | None) or grade not in _GRADES:
        raise BadRowError("wrong_type", f"column {config.correct}: no grade but {grade!r}")
    return ReasoningTrace(
        question=question,
        thinking=render(config.thinking, columns, joiner=LINES),
        answer=render(config.answer, columns, joiner=LINES),
        teacher=config.teacher,
        is_correct=_GRADES[grade],
    )


def _read_level(columns: Mapping[str, object], *, template: str | None) -> float | None:
    text = render_optional(template, columns)
    if text is None:
        return None
    shown = text[:_SHOWN_CHARACTERS]
    try:
        level = float(text)
    except ValueError as error:
        raise BadRowError("wrong_type", f"level {template}: {shown!r} is no number") from error
    if not math.isfinite(level):
        raise BadRowError("wrong_type", f"level {template}: {shown!r} is no finite number")
    return level
