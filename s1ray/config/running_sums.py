"""The shape of generated running sums; a pool and a benchmark may share it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from s1ray.config.base import Section

Operation = Literal["+", "-"]


class RunningSumsConfig(Section):
    """What the generator may draw from."""

    min_terms: Annotated[int, Field(ge=2)]
    max_terms: int
    max_number: Annotated[int, Field(ge=1)]
    """Every term lies between 1 and this number."""
    operations: Annotated[tuple[Operation, ...], Field(min_length=1)]
    phrasings: Annotated[tuple[str, ...], Field(min_length=1)]
    """Question texts with one ``{sum}``; each sum always gets the same one, whatever the seed."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_terms < self.min_terms:
            raise ValueError(
                f"max_terms={self.max_terms} is below min_terms={self.min_terms}. "
                "Raise max_terms or lower min_terms."
            )
        for phrasing in self.phrasings:
            if phrasing.count("{sum}") != 1:
                raise ValueError(
                    f"phrasings holds {phrasing!r}, which must contain '{{sum}}' exactly once. "
                    "Write for example 'What is {sum}?'."
                )
        return self
