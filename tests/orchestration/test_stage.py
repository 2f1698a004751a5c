"""A stage's directory: begun, finished, and begun all over."""

from collections.abc import Callable

import pytest

from s1ray.config.recipe import Recipe
from s1ray.orchestration.dashboard.board_rows import STEPS_PER_EVENT, BoardRows
from s1ray.orchestration.run_directory.events import EventLog, read_events
from s1ray.orchestration.run_directory.lease import HeldError
from s1ray.orchestration.run_directory.runs import Run
from s1ray.orchestration.stage import name_stage, open_stage
from tests.orchestration.processes import hold_elsewhere


def finish(run: Run, recipe: Recipe, *, loss: float, is_starting_over: bool) -> None:
    with open_stage(run, recipe, is_starting_over=is_starting_over) as stage:
        assert not run.is_finished
        with EventLog(run.path) as events:
            events.append(1, {"train/loss": loss})
        (run.path / "weights").write_bytes(b"w")
        stage.files.append("weights")


def test_stage_that_starts_over_is_unfinished_and_measures_anew(
    tiny: Callable[..., Recipe],
) -> None:
    recipe = tiny()
    run = name_stage(recipe, stage="train", slug="made", identity={})
    finish(run, recipe, loss=1.0, is_starting_over=False)
    assert run.is_finished

    finish(run, recipe, loss=2.0, is_starting_over=True)

    assert run.is_finished
    assert [row["train/loss"] for row in read_events(run.path)] == [2.0]
    [row] = BoardRows(run.path, table_rows=1).read(is_whole=True)
    assert row.step >= STEPS_PER_EVENT


def test_run_that_another_job_holds_is_refused_and_left_as_it_is(
    tiny: Callable[..., Recipe],
) -> None:
    recipe = tiny()
    run = name_stage(recipe, stage="train", slug="made", identity={})
    finish(run, recipe, loss=1.0, is_starting_over=False)

    def read() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}

    with hold_elsewhere(run.path):
        before = read()
        with (
            pytest.raises(HeldError),
            open_stage(run, recipe, is_starting_over=True),
        ):
            pass
        assert read() == before
