"""The sections that say how answers are graded and where benchmarks come from."""

from string import Formatter
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, StringConstraints, field_validator, model_validator

from s1ray.config.base import Section
from s1ray.config.generation import EndpointConfig
from s1ray.config.running_sums import RunningSumsConfig

AnswerForm = Literal[
    "boxed", "answer_tag", "final_answer", "answer", "hashes", "short_label", "bare"
]
AnswerKindName = Literal["integer", "math", "letter", "text"]
GoldForm = Literal["verbatim", "hashes", "boxed", "whole_number", "list"]
Names = Annotated[tuple[str, ...], Field(min_length=1)]
Revision = Annotated[str, StringConstraints(pattern="^[0-9a-f]{40}$")]


class GraderProcessesConfig(Section):
    """The grader's processes; none of it changes a verdict but a time-out."""

    num_workers: Annotated[int, Field(ge=1)]
    deadline_seconds: Annotated[float, Field(gt=0)]
    """Processor time of one comparison before its process is killed; a busy machine takes none of
    it away, so that verdicts do not depend on the load."""
    wall_seconds: Annotated[float, Field(gt=0)]
    """How long one comparison may take by the clock, however little of it it ran."""
    startup_seconds: Annotated[float, Field(gt=0)]
    """How long a process may take to import its algebra."""
    max_memory_gib: Annotated[float, Field(gt=0)]
    """Address space of one process."""


class AnswerJudgeConfig(Section):
    """A model behind an endpoint that has the last word on answers no layer found equal."""

    endpoint: EndpointConfig
    prompt: str
    """With {gold} and {answer}; all that the judge sees. It must ask for yes or no."""
    cache: str
    """JSON lines of what was asked and answered before; "~" is expanded."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_prompt(self.prompt, {"gold", "answer"})
        if not self.endpoint.sends_sampling:
            raise ValueError(
                f"endpoint.sends_sampling=false: {self.endpoint.model} would not be asked at "
                "temperature 0. Choose a model that takes a temperature."
            )
        return self


class GradingConfig(Section):
    """How an answer is found in a text and compared with the gold answer."""

    compat: Literal["none", "s1"]
    """s1: the rules of s1's harness without its judge, for comparison with its numbers."""
    forms: Annotated[tuple[AnswerForm, ...], Field(min_length=1)]
    """Where an answer may stand; tried in the fixed order of ``AnswerForm``, whatever is here."""
    max_bare_characters: Annotated[int, Field(ge=1)]
    """Longest one-line text that counts as an answer without any label."""
    max_answer_characters: Annotated[int, Field(ge=1, le=4300)]
    """Longer answers are compared as strings only; Python reads integers of up to 4300 digits."""
    max_answer_nesting: Annotated[int, Field(ge=1)]
    """Answers with deeper brackets are compared as strings only."""
    tolerance: Annotated[float, Field(ge=0)]
    """Largest difference of two plain numbers of which one may be rounded: absolute for gold
    numbers above 1, else as a part of them. Math-Verify, beyond that, rounds to six decimals."""
    pool: GraderProcessesConfig
    judge: AnswerJudgeConfig | None
    """null: no judge, as everywhere unless it is asked for."""


class HubFile(Section):
    """One file of a dataset repository on the Hugging Face hub."""

    dataset: str
    revision: Revision
    file: str


class RowFields(Section):
    """Which fields of a source row hold what; the first name that a row has counts."""

    question: Names
    answer: Names
    id: tuple[str, ...]
    """Empty: the id is made from the question's text."""
    context: tuple[str, ...]
    """Text that belongs before the question; empty for none."""


class ChoicesConfig(Section):
    """Multiple choice: the row's answer is the right option, shuffled among the others."""

    incorrect: Names
    """The fields that hold the wrong options."""
    seed: int
    """Of the shuffle; every item has its own permutation, from the seed and its id."""


class RowsBenchmarkConfig(Section):
    """A benchmark read from a local file, or from the hub where no path is given."""

    kind: Literal["rows"]
    path: str | None
    """JSONL, JSON, CSV (each also .gz) or Parquet, by its ending; takes the place of the hub."""
    hub: HubFile | None
    fields: RowFields
    gold: GoldForm
    answer_kind: AnswerKindName
    prompt: str
    """The user turn, with {question}; multiple choice also has {A}, {B}, ...."""
    options: ChoicesConfig | None
    is_private: bool
    """The authors ask that questions are not published: they are never printed, logged or sent."""
    licence: str
    limit: Annotated[int, Field(ge=1)] | None
    """Take only the first so many questions; null for all."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.path is None and self.hub is None:
            raise ValueError(
                "both path and hub are null, so there is nothing to read. Set path to a local "
                "JSONL, JSON, CSV or Parquet file."
            )
        if (self.options is not None) != (self.answer_kind == "letter"):
            raise ValueError(
                f"answer_kind={self.answer_kind} and options={self.options!r} do not belong "
                "together. Give options to a benchmark of letters, and only to that."
            )
        letters = [] if self.options is None else "ABCDEFGHIJ"[: len(self.options.incorrect) + 1]
        _check_prompt(self.prompt, {"question", *letters})
        return self


class GeneratedBenchmarkConfig(Section):
    """A benchmark whose questions a generator writes; whoever owns the generator passes them."""

    kind: Literal["running_sums"]
    num_questions: Annotated[int, Field(ge=1)]
    seed: int
    params: RunningSumsConfig
    prompt: str
    is_private: bool
    licence: str

    @field_validator("prompt")
    @classmethod
    def _check(cls, prompt: str) -> str:
        _check_prompt(prompt, {"question"})
        return prompt


class GymTaskConfig(Section):
    """One of reasoning-gym's tasks."""

    answer_kind: AnswerKindName
    params: dict[str, JsonValue]
    """Of the task's generator, beside size and seed; what is not given is the package's own."""


class GymBenchmarkConfig(Section):
    """A benchmark of fresh questions from tasks of the package reasoning-gym; needs no network."""

    kind: Literal["reasoning_gym"]
    tasks: Annotated[dict[str, GymTaskConfig], Field(min_length=1)]
    """By the package's names."""
    questions_per_task: Annotated[int, Field(ge=1)]
    seed: int
    prompt: str
    is_private: bool
    licence: str

    @field_validator("prompt")
    @classmethod
    def _check(cls, prompt: str) -> str:
        _check_prompt(prompt, {"question"})
        return prompt


BenchmarkConfig = Annotated[
    RowsBenchmarkConfig | GeneratedBenchmarkConfig | GymBenchmarkConfig,
    Field(discriminator="kind"),
]


def _check_prompt(prompt: str, names: set[str]) -> None:
    try:
        found = {name for _, name, _, _ in Formatter().parse(prompt) if name is not None}
    except ValueError as error:
        raise ValueError(f"prompt={prompt!r} is not a template: {error}.") from error
    if found != names:
        legal = " ".join(f"{{{name}}}" for name in sorted(names))
        raise ValueError(f"prompt={prompt!r} must contain exactly {legal}. Write braces as {{{{.")
