"""A stage under way: its run directory begun and leased, its results followed."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s1ray.config.recipe import Recipe
from s1ray.orchestration.lease import hold_lease
from s1ray.orchestration.runs import (
    Run,
    begin_run,
    dump_config,
    finish_run,
    name_run,
    update_description,
)
from s1ray.orchestration.terminal import say
from s1ray.orchestration.tracking import track


@dataclass(slots=True, kw_only=True)
class Stage:
    """What a stage leaves behind when its block ends well."""

    files: list[str] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)


def name_stage(recipe: Recipe, *, stage: str, slug: str, identity: Mapping[str, Any]) -> Run:
    """Return the run that this identity names under the recipe's storage."""
    storage = Path(recipe.paths.storage).expanduser().absolute()
    return name_run(storage=storage, stage=stage, slug=slug, identity=identity)


@contextmanager
def open_stage(run: Run, recipe: Recipe) -> Iterator[Stage]:
    """Hold a run's directory while the block does it; finish the run when the block ends well.

    Raises:
        RefusedError: The directory cannot be written, or another job holds it.
    """
    say(f"{run.stage}: {run.path}")
    began = time.monotonic()
    stage = Stage()
    with ExitStack() as stack:
        begin_run(run, config_yaml=dump_config(recipe))
        stack.enter_context(
            hold_lease(
                run.path,
                heartbeat_seconds=recipe.lease.heartbeat_seconds,
                stale_seconds=recipe.lease.stale_seconds,
            )
        )
        settings = recipe.model_dump(mode="json")
        stack.enter_context(
            track(run, config=recipe.tracking, group=recipe.name, settings=settings)
        )
        yield stage
    seconds = round(time.monotonic() - began, 1)
    update_description(run, seconds={run.stage: seconds})
    finish_run(run, files=stage.files, summary={"seconds": seconds, **stage.summary})
