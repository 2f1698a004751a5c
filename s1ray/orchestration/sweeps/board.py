"""A sweep for W&B's own agents: its configuration, whose command is this project's command line.

Each combination that W&B chooses is one ``jobs.sweep`` of one trial. The steps are named by content
as ever, so that agents on several machines repeat nothing, and budgets stay inside one evaluation.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import JsonValue

from s1ray.config.recipe import Recipe
from s1ray.config.search import (
    AxisConfig,
    ChoiceAxisConfig,
    GridAxisConfig,
    LogUniformAxisConfig,
    OptionsAxisConfig,
)
from s1ray.orchestration.dashboard.tracking import resolve_mode
from s1ray.orchestration.run_directory.runs import begin_run, dump_config, write_atomically
from s1ray.orchestration.sweeps.plan import SweepPlan
from s1ray.orchestration.sweeps.space import label_value, quote_label
from s1ray.orchestration.sweeps.trial import BEST_ACCURACY
from s1ray.orchestration.terminal import say

SWEEP = "wandb_sweep.yaml"


def run_board_sweep(plan: SweepPlan) -> Path:
    """Write the sweep's configuration, create it where W&B is reached; return the directory.

    Raises:
        wandb.errors.Error: The server refused the sweep; the file is written.
    """
    begin_run(plan.run, config_yaml=dump_config(plan.recipe))
    path = plan.run.path / SWEEP
    description = describe_sweep(plan)
    write_atomically(path, yaml.safe_dump(description, sort_keys=False, allow_unicode=True))
    tracking = plan.recipe.tracking
    if resolve_mode(tracking.mode) == "offline":
        say(f"not logged in to W&B. Create the sweep where you are: wandb sweep {path}")
        return plan.run.path
    import wandb  # noqa: PLC0415 - half a second that other sweeps need not pay

    name = wandb.sweep(description, entity=tracking.entity, project=tracking.project)
    place = "/".join(filter(None, [tracking.entity, tracking.project, name]))
    say(f"start agents here or on other machines: wandb agent --forward-signals {place}")
    return plan.run.path


def describe_sweep(plan: SweepPlan) -> dict[str, Any]:
    """Return the sweep as ``wandb sweep`` takes it."""
    search = plan.recipe.search
    axes = {name: search.axes[name] for name in plan.trials[0].labels}
    is_drawn = any(isinstance(axis, ChoiceAxisConfig | LogUniformAxisConfig) for axis in
                   axes.values())  # fmt: skip
    overrides = [word for word in plan.overrides if not word.startswith("tracking.mode=")]
    return {
        "name": plan.run.name,
        "project": plan.recipe.tracking.project,
        "program": "jobs/sweep.py",  # the agent asks for it, though the command does not name it
        "method": "random" if is_drawn else "grid",
        "metric": {"name": BEST_ACCURACY, "goal": "maximize"},
        "parameters": {
            f"search.axes.{name}.only": _describe_axis(axis) for name, axis in axes.items()
        },
        "command": [
            "${env}", "python", "-m", "jobs.sweep", *overrides,
            "tracking.mode=auto", f"tracking.group={plan.run.name}", "${args_no_hyphens}",
        ],
    }  # fmt: skip


def _describe_axis(axis: AxisConfig) -> Mapping[str, Any]:
    match axis:
        case OptionsAxisConfig():
            return {"values": [quote_label(name) for name in axis.options]}
        case GridAxisConfig() | ChoiceAxisConfig():
            return {"values": [_spell(value) for value in axis.values]}
        case LogUniformAxisConfig():
            return {"distribution": "log_uniform_values", "min": axis.low, "max": axis.high}


def _spell(value: JsonValue) -> float | str:
    """Return a value as W&B passes it on: what is neither a number nor a word goes as JSON."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return quote_label(value) if isinstance(value, str) else label_value(value)


def is_for_agents(recipe: Recipe) -> bool:
    """Whether the sweep is only described, for W&B's agents to run."""
    return recipe.tracking.mode == "wandb_sweep"
