"""The schema of ``conf/grade.yaml``: grading the stored outputs of any system."""

from typing import Annotated

from pydantic import Field

from s1ray.config.base import Section
from s1ray.config.grading import AnswerKindName, GradingConfig


class GradeFields(Section):
    """Which fields of a row hold what; "a.b" reaches into a field that is an object."""

    text: str
    """A completion, or its answer part."""
    gold: str
    """The gold answer, or a worked solution that states it."""
    id: str | None
    """Names a row in messages; null for its position."""
    answer_kind: str | None
    """null: every row is of the kind the configuration gives."""
    verdict: str | None
    """A stored verdict to compare with: true/false, a score where 1 is correct, or a verdict's
    name; null for none."""


class GradeConfig(Section):
    """Everything that ``python -m jobs.grade`` reads."""

    input: str
    """JSONL, JSON, CSV (each also .gz) or Parquet, by its ending."""
    output: str
    """JSONL: the rows again, with verdict, layer and extracted; gzipped if it ends with .gz."""
    fields: GradeFields
    answer_kind: AnswerKindName
    max_pending: Annotated[int, Field(ge=1)]
    """Rows under way at a time."""
    grading: GradingConfig
