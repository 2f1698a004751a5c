"""Whole fine-tunes on Ray that are disturbed: each ends with the bits of the undisturbed run."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
from torch import Tensor

from s1ray.config.recipe import Recipe
from s1ray.orchestration.fine_tune.interruption import TrainingProcess, start_training
from s1ray.orchestration.fine_tune.stopping import STOP
from s1ray.orchestration.fine_tune.train import prepare_train, run_train
from s1ray.orchestration.fine_tune.train_worker import START
from s1ray.orchestration.run_directory.runs import RefusedError
from s1ray.training.checkpoints.difference import compare_states
from s1ray.training.checkpoints.restoration import read_checkpoint
from s1ray.training.checkpoints.search import find_newest_checkpoint
from s1ray.training.fine_tune import CHECKPOINTS
from tests.orchestration.faults import STEP, Fault, faulty_worker
from tests.recipes import compose_tiny

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_head")]
NUM_STEPS = 6
SNAPSHOT = "checkpoint_manager_snapshot.json"
DELETED = json.dumps(
    {"ray_version": ray.__version__, "checkpoint_results": [{"checkpoint_dir_name": "gone"}]}
)
Compose = Callable[..., Recipe]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The run that nothing happened to."""

    traces: Path
    tensors: dict[str, Tensor]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, ray_head: Path) -> Reference:
    storage = tmp_path_factory.mktemp("reference")
    plan = prepare_train(compose_tiny(storage))
    path = run_train(plan)
    return Reference(traces=plan.traces_path, tensors=read_last(path))


def read_last(run_path: Path) -> dict[str, Tensor]:
    newest = find_newest_checkpoint(run_path / CHECKPOINTS, num_threads=1).newest
    assert newest is not None
    assert newest.step == NUM_STEPS
    return read_checkpoint(Path(newest.path))


def read_newest_step(run_path: Path) -> int:
    newest = find_newest_checkpoint(run_path / CHECKPOINTS, num_threads=1).newest
    assert newest is not None
    return newest.step


def read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def assert_same_bits(reference: Reference, run_path: Path) -> None:
    compared = compare_states(
        reference.tensors, read_last(run_path), absolute_tolerance=0.0, relative_tolerance=0.0
    )
    assert compared.is_bit_equal, compared.first


def assert_close(reference: Reference, run_path: Path) -> None:
    """Another number of workers sums in another order."""
    compared = compare_states(
        reference.tensors, read_last(run_path), absolute_tolerance=2e-5, relative_tolerance=1e-3
    )
    assert compared.first is None


@pytest.fixture
def compose_again(tmp_path: Path, reference: Reference) -> Compose:
    """Return the reference's recipe with overrides, its runs below the test's directory."""
    return lambda *overrides: compose_tiny(
        tmp_path / "runs", f"traces={reference.traces}", *overrides
    )


@pytest.fixture
def disturb(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that runs a whole job with a fault, which must have struck."""

    def run(recipe: Recipe, **fault: Any) -> Path:
        marker = tmp_path / "struck"
        try:
            return run_train(
                prepare_train(recipe),
                worker=partial(faulty_worker, fault=Fault(marker=marker, **fault)),
            )
        finally:
            assert marker.exists()

    return run


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("killed in mid-step", 1),
        ("killed in mid-upload", 1),
        ("killed between payload and manifest", 0),
        ("disk full", 1),
        ("hung", 1),
    ],
)
def test_run_heals_from_a_fault_of_one_worker(
    reference: Reference,
    compose_again: Compose,
    disturb: Callable[..., Path],
    name: str,
    rank: int,
) -> None:
    path = disturb(compose_again("ray.collective_timeout_seconds=8"), name=name, rank=rank)

    assert read_json(path / START)["step"] == STEP - 1
    assert_same_bits(reference, path)


@pytest.mark.parametrize(
    ("fault", "words", "snapshot"),
    [
        (
            {"name": "exception", "rank": 1},
            "(?s)than ray.max_failures=0.*a fault on one rank",
            '{"torn',
        ),
        ({"name": "bad input", "rank": 1}, "^ValueError: bad input on one rank", ""),
        ({"name": "bad input", "rank": 0}, "^ValueError: bad input on one rank", ""),
        ({"name": "disk full", "rank": 1, "is_lasting": True}, "the disk is full", ""),
        ({"name": "not a number", "rank": 1}, r"samples \w+.* not finite in step 3", DELETED),
        ({"name": "controller killed", "rank": 0}, "training failed: Ray Train's controller", ""),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_run_that_failed_goes_on_with_the_same_command_whatever_ray_remembers(
    reference: Reference,
    compose_again: Compose,
    disturb: Callable[..., Path],
    fault: dict[str, Any],
    words: str,
    snapshot: str,
) -> None:
    # What is refused once is not tried again, however often it might be.
    has_second = "is_lasting" in fault or fault["name"] == "bad input"
    recipe = compose_again(f"ray.max_failures={int(has_second)}")
    with pytest.raises(RuntimeError, match=words):
        disturb(recipe, **fault)
    plan = prepare_train(recipe)
    assert read_newest_step(plan.run.path) == STEP - 1
    ray_files = plan.run.path / "ray" / plan.run.name
    assert ray_files.is_dir()
    (ray_files / SNAPSHOT).write_text(snapshot, encoding="utf-8")

    path = run_train(plan)

    assert read_json(path / START)["step"] == STEP - 1
    assert_same_bits(reference, path)


@pytest.mark.parametrize("name", ["never", "step_00000001.a0"])
def test_run_that_turned_away_from_checkpoints_and_failed_goes_on_with_the_same_command(
    reference: Reference, compose_again: Compose, disturb: Callable[..., Path], name: str
) -> None:
    first = compose_again("ray.max_failures=0")
    path = prepare_train(first).run.path
    resume = name if name == "never" else path / CHECKPOINTS / name
    again = compose_again("ray.max_failures=0", f"checkpoint.resume={resume}")
    for recipe in (first, again):
        with pytest.raises(RuntimeError, match="a fault on one rank"):
            disturb(recipe, name="exception", rank=1, is_lasting=True)

    run_train(prepare_train(again))

    assert read_json(path / START)["step"] == STEP - 1
    assert_same_bits(reference, path)


def test_finished_run_starts_over_where_never_is_asked_again(
    reference: Reference, compose_again: Compose
) -> None:
    recipe = compose_again("checkpoint.resume=never")

    for _ in range(2):
        path = run_train(prepare_train(recipe))

        assert read_json(path / START)["step"] == 0
        assert_same_bits(reference, path)


def test_stop_within_the_grace_time_costs_nothing(
    reference: Reference, compose_again: Compose, disturb: Callable[..., Path]
) -> None:
    recipe = compose_again()
    with pytest.raises(SystemExit) as stopped:
        disturb(recipe, name="asked to stop", rank=0, driver=os.getpid())
    assert stopped.value.code == 128 + signal.SIGTERM
    plan = prepare_train(recipe)
    assert read_newest_step(plan.run.path) == STEP

    path = run_train(plan)

    assert read_json(path / START)["step"] == STEP
    assert_same_bits(reference, path)


def test_damaged_checkpoints_are_passed_over_for_the_newest_good_one(
    reference: Reference, compose_again: Compose
) -> None:
    plan = prepare_train(compose_again())
    path = run_train(plan)
    (path / "manifest.json").unlink()
    for step, damage in zip((6, 5, 4), (truncate, remove, flip_a_bit), strict=True):
        [shard] = path.glob(f"{CHECKPOINTS}/step_{step:08d}.a0/__1_0.distcp")
        damage(shard)

    run_train(plan)

    assert read_json(path / START)["step"] == 3
    assert [Path(text.split(":")[0]).name for text in read_json(path / START)["passed_over"]] == [
        f"step_0000000{step}.a0" for step in (6, 5, 4)
    ]
    assert_same_bits(reference, path)


def truncate(shard: Path) -> None:
    os.truncate(shard, 1000)


def remove(shard: Path) -> None:
    shard.unlink()


def flip_a_bit(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 4
    shard.write_bytes(content)


@pytest.fixture
def paused(tmp_path: Path, compose_again: Compose) -> Iterator[TrainingProcess]:
    """A job that stands still in step 3, on the session's Ray."""
    address = ray.get_runtime_context().gcs_address
    recipe = compose_again(f"ray.address={address}")
    job = start_training(recipe, log=tmp_path / "log.txt", pause_after=STEP - 1)
    try:
        job.wait_for_pause(timeout_seconds=300)
        yield job
    finally:
        job.kill()


def test_second_job_is_refused_and_killed_driver_is_followed_on_another_world_size(
    reference: Reference, compose_again: Compose, paused: TrainingProcess
) -> None:
    with pytest.raises(RefusedError, match=f"written by process {paused.process.pid} "):
        run_train(prepare_train(compose_again()))
    paused.kill()

    path = run_train(prepare_train(compose_again("sharding.num_workers=1")))

    assert read_json(path / START)["step"] == STEP - 1
    assert_close(reference, path)


def test_stop_beyond_the_grace_time_costs_the_step_under_way(
    reference: Reference, compose_again: Compose, paused: TrainingProcess
) -> None:
    assert paused.process.pid is not None
    os.kill(paused.process.pid, signal.SIGTERM)
    while not (paused.run_path / STOP).exists():
        paused.process.join(0.05)
        assert paused.process.is_alive()
    paused.kill()

    path = run_train(prepare_train(compose_again()))

    assert read_json(path / START)["step"] == STEP - 1
    assert_same_bits(reference, path)
