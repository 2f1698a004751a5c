"""Which suite is measured, and what every suite is told."""

from typing import Any

from pydantic import ConfigDict, PositiveInt

from s1ray.config.base import Section
from s1ray.config.tracking import PathsConfig


class SuiteSettings(Section):
    """What every suite is told; each has its own further keys."""

    kind: str
    """The suite's name."""
    num_pairs: PositiveInt
    """How often each side is measured; five at least where the figures are to be published."""


class ChosenSuite(SuiteSettings):
    """A suite's settings before the suite itself has read them."""

    model_config = ConfigDict(extra="allow")


class BenchmarkJobConfig(Section):
    """A measurement of one suite, or of some of its parts."""

    suite: ChosenSuite
    parts: tuple[str, ...] | None
    """Which of the suite's comparisons; None for all."""
    paths: PathsConfig

    def settings(self) -> dict[str, Any]:
        """Return the suite's keys, for the suite's own schema."""
        return self.suite.model_dump(mode="python")
