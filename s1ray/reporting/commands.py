"""How to get each number again: one command for every accuracy of a page.

It knows how the jobs are called. It runs none of them.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from s1ray.reporting.contents import Contents
from s1ray.reporting.pairs import choose_pairs
from s1ray.reporting.reading.records import BudgetPoint, Run
from s1ray.reporting.tables.formats import format_percent_error
from s1ray.reporting.tables.tables import order_points

GRID = ("max_thinking_tokens", "num_waits", "conditions", "rejection")
"""The keys of a budget that say which policies there are; all others hold for each policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberCommand:
    """A number of the page and the command that makes it."""

    number: str
    command: str


def list_commands(contents: Contents) -> tuple[NumberCommand, ...]:
    """Return a command for every accuracy and every paired difference; none where no run tells."""
    runs = {one.model: one.experiment for one in contents.evaluations if one.model}
    labels = {one.model: one.label for one in contents.evaluations if one.model}
    commands = [
        NumberCommand(
            number=(
                f"{point.benchmark}, {point.model}, {point.policy}: "
                f"{format_percent_error(point.accuracy, point.stderr)} %"
            ),
            command=narrow_command(runs[point.model], point, label=labels[point.model]),
        )
        for point in order_points(contents.results.points)
        if point.model in runs and runs[point.model].command
    ]
    compare = ("python", "-m", "jobs.compare")
    commands += [
        NumberCommand(
            number=f"{pair.variant} against {pair.reference}",
            command=shlex.join((*compare, f"a={pair.reference_path}", f"b={pair.variant_path}")),
        )
        for pair in choose_pairs(contents)
    ]
    heads = ",".join(str(experiment.head.path) for experiment in contents.experiments)
    page = NumberCommand(
        number="This page", command=shlex.join(["python", "-m", "jobs.report", f"runs=[{heads}]"])
    )
    return (*commands, page)


def narrow_command(run: Run, point: BudgetPoint, *, label: str) -> str:
    """Return the command that makes one point, and as little else as can be named.

    Where a point's policy cannot be named on the command line, it is the whole run's command.

    Args:
        run: The run that the point was measured in, of several steps or the evaluation itself.
        point: An accuracy.
        label: What results call the model: base, trained, or other.
    """
    words = shlex.split(run.command)
    choice = choose_budget(run.config, point, is_base=label == "base")
    if words[:2] != ["python", "-m"] or run.stage not in ("reproduce", "evaluate") or not choice:
        return run.command
    target = [f"target={label}"] if label in ("base", "trained") else []
    added = [*target, *choice]
    keys = {word.split("=")[0] for word in added}
    kept = [word for word in words[3:] if word.split("=")[0] not in keys]
    return shlex.join(["python", "-m", "jobs.evaluate", *kept, *added])


def choose_budget(config: str, point: BudgetPoint, *, is_base: bool) -> Sequence[str]:
    """Return the overrides that leave a budget's grid with one point's policy; none if none can.

    Args:
        config: The run's resolved configuration, YAML.
        point: Of a plain budget or with Waits; other policies have no names on the command line.
        is_base: Whether a run of several steps measured it under ``base_budget``.
    """
    if point.method not in ("budget", "wait"):
        return ()
    budgets = _read_budgets(config)
    budget, used = budgets.get("budget"), budgets.get("base_budget" if is_base else "budget")
    if not isinstance(budget, dict) or _drop_grid(budget) != _drop_grid(used or budget):
        return ()
    cap = "null" if point.max_thinking_tokens is None else str(point.max_thinking_tokens)
    caps, waits = ([], [str(point.num_waits)]) if point.num_waits else ([cap], [])
    overrides = [
        f"budget.max_thinking_tokens=[{','.join(caps)}]",
        f"budget.num_waits=[{','.join(waits)}]",
    ]
    return [*overrides, *(f"budget.{key}=null" for key in GRID[2:] if budget.get(key))]


@lru_cache(maxsize=64)  # a run has many points, and its YAML takes tens of milliseconds
def _read_budgets(config: str) -> Mapping[str, Any]:
    content = yaml.safe_load(config)
    return content if isinstance(content, dict) else {}


def _drop_grid(budget: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in budget.items() if key not in GRID}
