"""What a suite is: settings of its own and named parts, each a comparison that stands alone."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

from s1ray.config.suites.job import SuiteSettings
from s1ray.config.tracking import PathsConfig

MODULES = {
    "checkpoint": "s1ray.suites.checkpoint",
    "curation": "s1ray.suites.curation.suite",
    "evaluation": "s1ray.suites.evaluation.parts",
    "forcing": "s1ray.suites.forcing.suite",
    "gpu": "s1ray.suites.gpu.suite",
    "machine": "s1ray.suites.machine",
    "plan": "s1ray.suites.plan.suite",
    "sweep": "s1ray.suites.sweep",
    "training": "s1ray.suites.training",
}
"""Each suite's module. Named, not imported: ``suite=gpu`` runs on machines without Ray."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a part found."""

    summary: str
    """One line for people: both sides and the ratio."""
    results: Mapping[str, Any]
    """The numbers, as JSON takes them, units in the names."""


Part = Callable[[Any, PathsConfig], Outcome]
"""Takes the suite's settings and where things lie (absolute), measures, and checks first that all
sides compute the same."""


Check = Callable[[Any], None]
"""Takes the suite's settings and raises RefusedError where this machine cannot measure a part."""


class Suite(Protocol):
    """A module of this package that measures something.

    Where parts need what not every machine has, its ``CHECKS`` say so by part, before any begins.
    """

    SETTINGS: type[SuiteSettings]
    PARTS: Mapping[str, Part]


def list_checks(suite: Suite, parts: Iterable[str]) -> list[Check]:
    """Return a suite's checks of parts, each once."""
    checks: Mapping[str, Check] = getattr(suite, "CHECKS", {})
    return list(dict.fromkeys(checks[name] for name in parts if name in checks))


def load_suite(kind: str) -> Suite:
    """Import a suite.

    Raises:
        ValueError: There is none of that name.
    """
    if kind not in MODULES:
        raise ValueError(f"suite.kind={kind!r} is no suite. Choose suite={'|'.join(MODULES)}.")
    return cast(Suite, import_module(MODULES[kind]))
