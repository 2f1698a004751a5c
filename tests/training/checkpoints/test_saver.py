"""The saver: what is due when, the same bits while training goes on, errors that surface."""

import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pydantic
import pytest
import torch

from s1ray.training.checkpoints.checkpoint import write_checkpoint
from s1ray.training.checkpoints.commit import CheckpointKind, read_manifest
from s1ray.training.checkpoints.saver import CheckpointSaver, StepOutcome
from s1ray.training.checkpoints.search import find_newest_checkpoint
from s1ray.training.loop import TrainState
from tests.fakes import full_disk
from tests.training.checkpoint_runs import (
    IDENTITY,
    advance,
    load,
    make_checkpointing,
    read_tensors,
    start,
)


def make_saver(directory: Path, **changes: object) -> CheckpointSaver:
    return CheckpointSaver(directory, config=make_checkpointing(**changes), identity=IDENTITY)


def run(
    state: TrainState,
    saver: CheckpointSaver,
    *,
    num_steps: int,
    before_step: Callable[[int], None] = lambda _: None,
) -> list[StepOutcome]:
    outcomes = []
    for _ in range(num_steps):
        before_step(state.step + 1)
        advance(state, 1)
        outcomes.append(
            saver.after_step(state, is_last=state.step == 6, is_stopping=False, is_hurried=False)
        )
    return outcomes


def list_kinds(directory: Path) -> dict[int, str]:
    manifests = [read_manifest(path) for path in directory.iterdir()]
    return {manifest.step: manifest.kind.value for manifest in manifests}


def test_permanent_checkpoints_fall_on_their_steps_and_on_the_last(
    tmp_path: Path, model: Path
) -> None:
    saver = make_saver(tmp_path, permanent_every_steps=4)
    outcomes = run(start(model), saver, num_steps=6)
    assert saver.close() == ()
    assert [[ref.step for ref in outcome.committed] for outcome in outcomes] == (
        [[], [], [], [4], [], [6]]
    )
    assert outcomes[3].committed[0].samples_consumed == 14
    assert list_kinds(tmp_path) == {4: "permanent", 6: "permanent"}


def test_temporary_checkpoints_follow_the_clock_and_give_way_to_newer_ones(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("s1ray.training.checkpoints.saver.monotonic", lambda: now)
    saver = make_saver(tmp_path, max_lost_seconds=8.0, keep_temporary=1)
    state, saved = start(model), []
    for _ in range(6):
        now += 2.0
        saved.extend(run(state, saver, num_steps=1)[0].committed)
    # Until a write has been timed it is taken for half the limit; then it took no time, so that
    # only a step of 2 s is left of the 8 s. The last is permanent.
    assert [ref.step for ref in saved] == [1, 4, 6]
    saver.close()
    assert list_kinds(tmp_path) == {4: "temporary", 6: "permanent"}


@pytest.mark.parametrize(("step", "write"), [(0.5, 0.1), (0.5, 4.5), (3.0, 3.5), (1.0, 4.0)])
def test_crash_never_costs_more_than_the_limit(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, step: float, write: float
) -> None:
    now, limit = 100.0, 15.0

    def take_time(*args: object, **kwargs: object) -> object:
        nonlocal now
        now += write
        return write_checkpoint(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr("s1ray.training.checkpoints.saver.monotonic", lambda: now)
    monkeypatch.setattr("s1ray.training.checkpoints.saver.write_checkpoint", take_time)
    saver = make_saver(tmp_path, max_lost_seconds=limit, temporary_write_share=0.5)
    state, safe, costs = start(model), now, []
    while now < 160:
        now += step
        state.step += 1
        reached = now
        is_saved = saver.after_step(state, is_last=False, is_stopping=False, is_hurried=False)
        costs.append(now - safe)  # of a crash at this very moment, before the commit counts
        safe = reached if is_saved.committed else safe
    assert max(costs) <= limit
    assert len(costs) * step > 2 * limit
    saver.close()


def test_checkpoint_just_written_outlives_later_ones_that_the_run_went_back_behind(
    tmp_path: Path, model: Path
) -> None:
    first = make_saver(tmp_path, keep_temporary=2)
    state = start(model)
    for _ in range(4):
        save_now(state, first)
    first.close()

    second = make_saver(tmp_path, keep_temporary=2)
    state = start(model)
    kinds = []
    for _ in range(3):
        save_now(state, second)
        kinds.append(list_kinds(tmp_path))
    second.close()

    assert [sorted(steps) for steps in kinds] == [[1], [1, 2], [2, 3]]


def save_now(state: TrainState, saver: CheckpointSaver) -> None:
    advance(state, 1)
    saver.after_step(state, is_last=False, is_stopping=False, is_hurried=True)


def test_slow_disk_makes_temporary_checkpoints_rarer(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0

    def write_for_four_seconds(*args: object, **kwargs: object) -> object:
        nonlocal now
        now += 4.0
        return write_checkpoint(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr("s1ray.training.checkpoints.saver.monotonic", lambda: now)
    monkeypatch.setattr("s1ray.training.checkpoints.saver.write_checkpoint", write_for_four_seconds)
    saver = make_saver(tmp_path, max_lost_seconds=10.0, temporary_write_share=0.2)
    state, saved = start(model), []
    for seconds in (10.0, 15.0, 5.0):
        now += seconds
        saved.extend(run(state, saver, num_steps=1)[0].committed)
    # 4 s of writing at a share of 0.2 ask for 20 s from one beginning to the next.
    assert [ref.step for ref in saved] == [1, 3]
    saver.close()


def test_asynchronous_checkpoint_holds_the_step_it_was_taken_at(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read_tensors(advance(start(model), 2))
    release_at: list[float] = []
    written_by = _slow_down(monkeypatch, release_at)
    saver = make_saver(tmp_path, permanent_every_steps=2, mode="asynchronous")
    state = start(model)

    (_, at_save) = run(state, saver, num_steps=2)
    assert at_save.committed == ()
    assert list(tmp_path.glob("*/manifest.json")) == []
    with torch.no_grad():  # whatever training does to the weights meanwhile
        for parameter in state.model.parameters():
            parameter.fill_(7.0)
    release_at.append(time.monotonic())
    (reference,) = saver.close()

    assert written_by[0] != "MainThread"
    found = read_tensors(load(start(model), Path(reference.path)))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def _slow_down(monkeypatch: pytest.MonkeyPatch, release_at: list[float]) -> list[str]:
    names: list[str] = []

    def wait_and_write(*args: object, **kwargs: object) -> object:
        names.append(threading.current_thread().name)
        while not release_at:
            time.sleep(0.01)
        return write_checkpoint(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr("s1ray.training.checkpoints.saver.write_checkpoint", wait_and_write)
    return names


def test_asynchronous_commits_are_told_at_a_later_step_each_once(
    tmp_path: Path, model: Path
) -> None:
    saver = make_saver(tmp_path, permanent_every_steps=1, mode="asynchronous")
    outcomes = run(start(model), saver, num_steps=6)
    told = [ref.step for outcome in outcomes for ref in outcome.committed]
    assert outcomes[0].committed == ()
    assert told == [1, 2, 3, 4, 5, 6]
    assert saver.close() == ()
    assert len(list_kinds(tmp_path)) == 6


def test_stop_saves_at_once_and_the_run_goes_on_from_there(tmp_path: Path, model: Path) -> None:
    saver = make_saver(tmp_path, mode="asynchronous")
    state = start(model)
    run(state, saver, num_steps=1)
    advance(state, 1)
    outcome = saver.after_step(state, is_last=False, is_stopping=True, is_hurried=False)
    saver.close()
    assert outcome.is_stopping
    assert [ref.step for ref in outcome.committed] == [2]
    assert list_kinds(tmp_path) == {2: CheckpointKind.TEMPORARY.value}
    resumed = advance(load(start(model), Path(outcome.committed[0].path)), None)
    expected = read_tensors(advance(start(model), None))
    found = read_tensors(resumed)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
def test_full_disk_surfaces_and_leaves_the_previous_checkpoint(
    tmp_path: Path, model: Path, mode: str
) -> None:
    saver = make_saver(tmp_path, permanent_every_steps=2, mode=mode)
    state = start(model)
    run(state, saver, num_steps=3)
    while not list(tmp_path.glob("*/manifest.json")):
        time.sleep(0.01)
    with pytest.raises(OSError, match="the disk is full") as caught:
        _run_on_full_disk(state, saver)
    assert caught.value.errno == errno.ENOSPC
    assert saver.close() == ()
    newest = find_newest_checkpoint(tmp_path, num_threads=1).newest
    assert newest is not None
    assert newest.step == 2
    assert list_kinds(tmp_path) == {2: "permanent"}


def _run_on_full_disk(state: TrainState, saver: CheckpointSaver) -> None:
    with full_disk(limit_bytes=50_000):
        run(state, saver, num_steps=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "eventually"}, "'asynchronous' or 'synchronous'"),
        ({"keep_temporary": 0}, "keep_temporary"),
        ({"max_lost_seconds": 0}, "max_lost_seconds"),
        ({"resume": ""}, "resume"),
        ({"export": {"dtype": "float16", "shard_gib": 1, "merge_adapter": True}}, "'bfloat16'"),
    ],
)
def test_checkpoint_config_out_of_range_is_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(pydantic.ValidationError, match=message):
        make_checkpointing(**changes)


def test_hurried_rank_is_saved_at_once_and_again_when_that_is_written(
    tmp_path: Path, model: Path
) -> None:
    saver = make_saver(tmp_path, mode="synchronous")
    state = start(model)
    saved = []
    for is_hurried in (False, True, True, False):
        advance(state, 1)
        outcome = saver.after_step(state, is_last=False, is_stopping=False, is_hurried=is_hurried)
        saved.append([ref.step for ref in outcome.committed])
    saver.close()
    assert saved == [[], [2], [3], []]
    assert list_kinds(tmp_path) == {2: "temporary", 3: "temporary"}
