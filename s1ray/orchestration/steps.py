"""The steps of a plan, listed: which exist, which will run, what they cost. Nothing is started."""

from collections.abc import Sequence
from dataclasses import dataclass

from s1ray.orchestration.run_directory.runs import Run, read_manifest
from s1ray.orchestration.terminal import say, show_table

FINISHED, BEGUN, MISSING = "finished", "begun", "to do"
NAMED_LATER = "named once its model is trained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a plan."""

    stage: str
    name: str
    """The run's; what is not known yet is said in its place."""
    state: str
    cost: str
    """What it takes in its own units; seconds where it has run."""


def describe_step(run: Run, *, cost: str) -> Step:
    """Return a step as its run directory shows it."""
    manifest = read_manifest(run.path)
    if manifest is not None:
        state, seconds = FINISHED, manifest["summary"].get("seconds")
        cost = f"took {seconds:.0f} s" if seconds is not None else ""
    else:
        state = BEGUN if run.path.exists() else MISSING
    return Step(stage=run.stage, name=run.name, state=state, cost=cost)


def show_steps(steps: Sequence[Step]) -> None:
    """Print the list, each step once, and how many of them will run."""
    distinct = list(dict.fromkeys(steps))
    show_table(
        "steps",
        [
            {"stage": step.stage, "run": step.name, "state": step.state, "cost": step.cost}
            for step in distinct
        ],
    )
    missing = sum(step.state != FINISHED for step in distinct)
    say(f"{missing} of {len(distinct)} steps will run")
