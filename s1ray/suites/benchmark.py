"""``jobs.benchmark``: the parts of one suite, one after the other; the last line is JSON.

Knows no suite: what is measured stands in the suites' own modules.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s1ray.config.suites.job import BenchmarkJobConfig, SuiteSettings
from s1ray.config.tracking import PathsConfig
from s1ray.orchestration.launch import validate
from s1ray.orchestration.run_directory.provenance import (
    CODE,
    describe_command,
    describe_machine,
    read_git_state,
    read_versions,
)
from s1ray.orchestration.run_directory.runs import hash_identity, write_json
from s1ray.orchestration.terminal import say
from s1ray.suites.suite import Check, Part, list_checks, load_suite

RESULT = "result.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkPlan:
    """A suite's chosen parts; nothing has been measured."""

    settings: SuiteSettings
    parts: Mapping[str, Part]
    checks: Sequence[Check] = ()
    """Whether this machine can measure them."""
    paths: PathsConfig
    """Absolute: parts start processes elsewhere."""
    directory: Path
    """Names the parts where they are not all: what others found is not written over."""


def prepare_benchmark(config: BenchmarkJobConfig) -> BenchmarkPlan:
    """Read the suite's settings and choose its parts.

    Raises:
        ValueError: There is no such suite, part or key,
    """
    suite = load_suite(config.suite.kind)
    settings = validate(config.settings(), suite.SETTINGS, prefix="suite.")
    chosen = tuple(suite.PARTS) if config.parts is None else config.parts
    unknown = [name for name in chosen if name not in suite.PARTS]
    if unknown or not chosen:
        raise ValueError(
            f"parts={list(chosen)}: suite={config.suite.kind} has the parts {list(suite.PARTS)}. "
            "Name some of these, or null for all."
        )
    # In the suite's own order, each once: that names the directory.
    parts = {name: part for name, part in suite.PARTS.items() if name in chosen}
    digest = hash_identity(settings.model_dump(mode="json"))
    names = [] if len(parts) == len(suite.PARTS) else parts
    paths = _make_absolute(config.paths)
    return BenchmarkPlan(
        settings=settings,
        parts=parts,
        checks=list_checks(suite, parts),
        paths=paths,
        directory=Path(paths.storage, "benchmark", "-".join([config.suite.kind, digest, *names])),
    )


def _make_absolute(paths: PathsConfig) -> PathsConfig:
    whole = {
        name: None if path is None else str(Path(path).expanduser().absolute())
        for name, path in paths.model_dump().items()
    }
    return PathsConfig.model_validate(whole)


def run_benchmark(plan: BenchmarkPlan) -> str:
    """Measure every part, write ``result.json`` after each, and return it as one line of JSON.

    Raises:
        RefusedError: This machine cannot measure one of them; nothing was begun.
    """
    for check in plan.checks:
        check(plan.settings)
    plan.directory.mkdir(parents=True, exist_ok=True)
    measured: dict[str, Any] = {}
    git = read_git_state(CODE)
    report: dict[str, Any] = {
        "suite": plan.settings.kind,
        "command": describe_command(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": describe_machine(),
        "versions": read_versions(),
        "git": {"sha": git["sha"], "is_dirty": bool(git["dirty"])},
        "settings": plan.settings.model_dump(mode="json"),
        "parts": measured,
        "path": str(plan.directory / RESULT),
    }
    for number, (name, part) in enumerate(plan.parts.items(), start=1):
        say(f"{plan.settings.kind} {number}/{len(plan.parts)}: {name}")
        outcome = part(plan.settings, plan.paths)
        measured[name] = {"summary": outcome.summary, **outcome.results}
        write_json(plan.directory / RESULT, report)
        say(f"  {outcome.summary}")
    return json.dumps(report, allow_nan=False)
