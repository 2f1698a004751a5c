"""Where questions come from, how a source's rows are read, and which rows are refused."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from s1ray.config.base import Section
from s1ray.config.running_sums import RunningSumsConfig

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Value = str | int | float | bool | None


class RunningSumsSourceConfig(Section):
    """Questions from the generator of running sums."""

    kind: Literal["running_sums"]
    origin: str
    licence: str
    num_questions: Count
    seed: int
    """Another one than the benchmark's, which draws from the same sums."""
    sums: RunningSumsConfig


class HubConfig(Section):
    """A dataset on the Hugging Face hub."""

    repository: str
    revision: str
    files: Annotated[tuple[str, ...], Field(min_length=1)]
    """Patterns of paths in the repository, in the order they are read."""


class KeepConfig(Section):
    """A condition on a column; rows that fail it are left out without being bad."""

    column: str
    operator: Literal["one_of", "none_of", "at_least", "at_most"]
    values: Annotated[tuple[Value, ...], Field(min_length=1)]
    """One bound for ``at_least`` and ``at_most``."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        is_bound = self.operator in {"at_least", "at_most"}
        if is_bound and (len(self.values) != 1 or not isinstance(self.values[0], int | float)):
            raise ValueError(
                f"keep {self.column} {self.operator} {list(self.values)}: give one number."
            )
        return self


class SampleConfig(Section):
    """A fixed random part of a source's questions."""

    num_rows: Count
    """Questions that repeat another one count, too."""
    seed: int
    is_even_over_domains: bool
    """Whether domains take turns, rather than count by size."""


class CutConfig(Section):
    """A new column: the part of another one between two markers."""

    column: str
    after: str | None
    """The part behind the last of these; null: from the start."""
    before: str | None
    """The part before the first of these; null: to the end."""


class OptionsConfig(Section):
    """A new column ``options``: choices in a fixed random order, "(A) ..." one a line.

    The letter of the right one becomes the column ``option_letter``.
    """

    correct: str
    wrong: tuple[str, ...]
    seed: int


class TraceConfig(Section):
    """Where a teacher's trace stands in a row; texts are templates as in ``ColumnsConfig``."""

    thinking: str
    answer: str
    teacher: str
    correct: str | None
    """Column with the grade, true or false, Yes or No; null where nobody graded."""


class ColumnsConfig(Section):
    """How a row becomes a question.

    Texts are templates: ``{column}`` is replaced, ``{outer.inner}`` looks inside an object, lists
    are joined line by line, null is empty. The built-in columns ``_file`` and ``_row`` say where a
    row stands.
    """

    question: str
    answer: str
    solution: str | None
    domain: str | None
    level: str | None
    """A number, higher is harder, on the source's own scale."""
    cuts: dict[str, CutConfig]
    options: OptionsConfig | None
    images: tuple[str, ...]
    """Columns that hold an image where they hold anything."""


class RowsSourceConfig(Section):
    """Questions from rows of files, local or of the hub."""

    kind: Literal["rows"]
    origin: str
    """Who made it, for the data card."""
    licence: str
    files: tuple[str, ...]
    """Patterns below ``pool.root`` (JSONL, JSON, CSV, Parquet; .gz), used where a root is given."""
    hub: HubConfig | None
    """Used where no root is given."""
    keep: tuple[KeepConfig, ...]
    sample: SampleConfig | None
    """Null: every row that is kept."""
    columns: ColumnsConfig
    trace: TraceConfig | None
    """Null where the source has no teacher: the worked solution stands in for thinking."""
    answer_kind: Literal["integer", "math", "letter", "text"]
    is_answer_required: bool
    """Whether a row without an answer is bad."""


class TracesSourceConfig(Section):
    """Reasoning traces as ``jobs.curate`` and ``jobs.distill`` write them, below ``pool.root``.

    Each keeps the name of the source that its question came from.
    """

    kind: Literal["traces"]
    origin: str
    licence: str
    files: Annotated[tuple[str, ...], Field(min_length=1)]


SourceConfig = Annotated[
    RunningSumsSourceConfig | RowsSourceConfig | TracesSourceConfig, Field(discriminator="kind")
]


class PoolConfig(Section):
    """All sources of a pool, in order: of equal questions, the first source's stays."""

    root: str | None
    """Directory of the sources' files; null: the hub."""
    sources: Annotated[dict[str, SourceConfig], Field(min_length=1)]
    max_question_characters: Count
    image_markers: tuple[str, ...]
    """Texts whose presence makes a question one about an image."""
    max_bad_fraction: Fraction
    """Per source, share of malformed, empty, over-long and image-bearing rows that is borne."""
    max_duplicate_fraction: Fraction
    """Share of the whole pool's questions that may repeat another one."""
