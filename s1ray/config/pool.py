"""Where questions come from, and which rows are refused."""

from typing import Annotated, Literal

from pydantic import Field

from s1ray.config.base import Section
from s1ray.config.running_sums import RunningSumsConfig

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class RunningSumsSourceConfig(Section):
    """Questions from the generator of running sums."""

    kind: Literal["running_sums"]
    num_questions: Count
    seed: int
    """Another one than the benchmark's, which draws from the same sums."""
    sums: RunningSumsConfig


class PoolConfig(Section):
    """All sources of a pool, in order: of equal questions, the first source's stays."""

    sources: Annotated[dict[str, RunningSumsSourceConfig], Field(min_length=1)]
