"""Search spaces of the tiny experiment, as overrides of the command line."""

from pathlib import Path

from hydra import compose, initialize_config_dir

from s1ray.config.recipe import Recipe
from s1ray.orchestration.launch import CONF, parse_config
from s1ray.orchestration.sweeps.plan import SweepPlan, prepare_sweep


def name_options(**options: list[str]) -> str:
    """Return an axis of named options, each with its overrides."""
    named = ", ".join(f"{name}: {overrides}" for name, overrides in options.items())
    return f"{{kind: options, options: {{{named}}}, only: null}}"


DATA = name_options(few=["selection.num_questions=4"], more=["selection.num_questions=8"])


def plan_sweep(storage: Path, *overrides: str, experiment: str = "tiny") -> SweepPlan:
    """Plan a sweep as ``jobs.sweep`` does from its command line."""
    words = [f"experiment={experiment}", f"paths.storage={storage}", *overrides]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("recipe", overrides=words)
    return prepare_sweep(parse_config(composed, Recipe), words)


def axes(**declared: str) -> list[str]:
    """Return overrides that replace the experiment's axes by others."""
    return ["search=none", *(f"+search.axes.{name}={text}" for name, text in declared.items())]
