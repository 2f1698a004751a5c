"""A stage under way: its run directory begun and leased, its results followed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s1ray.config.recipe import Recipe
from s1ray.orchestration.dashboard.board_rows import leave_steps_behind
from s1ray.orchestration.dashboard.tracking import (
    is_replay_due,
    resolve_mode,
    track,
)
from s1ray.orchestration.run_directory.attempts import ATTEMPTS, time_attempt
from s1ray.orchestration.run_directory.events import EVENTS
from s1ray.orchestration.run_directory.keeping import describe_kept
from s1ray.orchestration.run_directory.lease import end_at_once, find_last_sign, hold_lease
from s1ray.orchestration.run_directory.runs import (
    Run,
    begin_run,
    dump_config,
    finish_run,
    make_directory,
    name_run,
    refuse_unwritable,
    update_description,
)
from s1ray.orchestration.terminal import say, show_header


@dataclass(slots=True, kw_only=True)
class Stage:
    """What a stage leaves behind when its block ends well."""

    files: list[str] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    description: dict[str, Any] = field(default_factory=dict)
    """Of ``run.json``: what is to stand there in place of what does."""


def name_stage(recipe: Recipe, *, stage: str, slug: str, identity: Mapping[str, Any]) -> Run:
    """Return the run that this identity names under the recipe's storage.

    Args:
        recipe: Names the storage.
        stage: Such as train.
        slug: The readable half of the name.
        identity: All that changes the run's result.
    """
    storage = Path(recipe.paths.storage).expanduser().absolute()
    return name_run(storage=storage, stage=stage, slug=slug, identity=identity)


@contextmanager
def open_stage(run: Run, recipe: Recipe, *, is_starting_over: bool = False) -> Iterator[Stage]:
    """Hold a run's directory while the block does it; finish the run when the block ends well.

    Args:
        run: Begun, or begun anew.
        recipe: Goes into its ``config.yaml``.
        is_starting_over: Whether it forgets that it was finished, and what it measured.

    Raises:
        RefusedError: The directory cannot be written, or another job holds it.
    """
    show_header(run.stage, run.path, kept="" if is_starting_over else describe_kept(run.path))
    stage = Stage()
    with ExitStack() as stack:
        last_heard = stack.enter_context(hold_run(run, recipe))
        if is_starting_over:
            leave_steps_behind(run.path)
            for name in (EVENTS, ATTEMPTS):
                (run.path / name).unlink(missing_ok=True)
        stack.enter_context(track_stage(run, recipe))
        clock = stack.enter_context(time_attempt(run.path, last_heard=last_heard))
        yield stage
        seconds = round(clock.total_seconds, 1)
        update_description(run, **{"seconds": {run.stage: seconds}, **stage.description})
        finish_run(run, files=stage.files, summary={"seconds": seconds, **stage.summary})


@contextmanager
def hold_run(
    run: Run, recipe: Recipe, *, on_lost: Callable[[], None] = end_at_once
) -> Iterator[float | None]:
    """Begin a run and be its one writer while the block runs.

    Args:
        run: Begun, or begun anew.
        recipe: Goes into its ``config.yaml``.
        on_lost: Called where another writer may have it, as ``hold_lease`` does.

    Yields:
        When an earlier attempt was last heard of, in Unix seconds; None for never.

    Raises:
        RefusedError: The directory cannot be written, or another job holds it; nothing in it was
            touched then.
    """
    make_directory(run)
    last_heard = find_last_sign(run.path)
    lease = recipe.lease
    held = hold_lease(
        run.path,
        heartbeat_seconds=lease.heartbeat_seconds,
        stale_seconds=lease.stale_seconds,
        on_lost=on_lost,
    )
    with ExitStack() as stack:
        with refuse_unwritable(run):
            stack.enter_context(held)
        begin_run(run, config_yaml=dump_config(recipe))
        yield last_heard


def track_stage(run: Run, recipe: Recipe) -> AbstractContextManager[None]:
    """Return the block in which a stage's events and samples are forwarded to W&B."""
    return track(
        run,
        config=recipe.tracking,
        group=recipe.tracking.group or recipe.name,
        settings=recipe.model_dump(mode="json"),
    )


def show_finished(run: Run, recipe: Recipe) -> None:
    """Say that a run was finished before, and replay it to W&B where that is due."""
    show_header(run.stage, run.path, kept="finished")
    if is_replay_due(run.path, recipe.tracking):
        is_offline = resolve_mode(recipe.tracking.mode) == "offline"
        say(f"  recording {run.name} offline" if is_offline else f"  sending {run.name} to W&B")
        with track_stage(run, recipe):
            pass
