"""The whole recipe on a real Ray: every stage, its files, and what a second run does not repeat."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from s1ray.config.recipe import Recipe
from s1ray.curation.traces import read_traces
from s1ray.evaluation.store import read_samples
from s1ray.orchestration import reproduce
from s1ray.orchestration.reproduce import describe_stages, prepare_reproduce, run_reproduce
from s1ray.orchestration.run_directory.events import read_events
from s1ray.orchestration.run_directory.lease import HeldError
from s1ray.orchestration.run_directory.runs import MANIFEST, finish_run, name_run, read_manifest
from tests.orchestration.processes import hold_elsewhere
from tests.recipes import compose_tiny

pytestmark = pytest.mark.usefixtures("ray_head")


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def path(storage: Path, ray_head: Path) -> Path:
    """A recipe that was reproduced once."""
    return run_reproduce(prepare_reproduce(compose_tiny(storage)))


def _stages(path: Path) -> dict[str, Path]:
    described = json.loads((path / "run.json").read_text(encoding="utf-8"))
    return {name: (path / place).resolve() for name, place in described["steps"].items()}


def _list_files(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def test_reproduce_leaves_every_stage_finished_and_repeats_none(path: Path, storage: Path) -> None:
    stages = {"reproduce": path, **_stages(path)}

    assert set(stages) == {"reproduce", "curate", "base", "train", "trained"}
    assert all(read_manifest(stage) is not None for stage in stages.values())
    assert len(read_traces(stages["curate"] / "selected.jsonl")) == 10
    steps = [row["global_step"] for row in read_events(stages["train"])]
    assert steps == list(range(1, 2 * 3 + 1))
    samples = list(read_samples(stages["trained"] / "samples.jsonl"))
    assert len({sample.task for sample in samples}) == 4 * 3
    results = json.loads((path / "results.json").read_text(encoding="utf-8"))
    assert {(point["model"], point["policy"]) for point in results["points"]} == {
        (model, policy) for model in ("base", "trained") for policy in ("cap_0", "cap_4", "wait_1")
    }
    assert "<svg" in (path / "report.html").read_text(encoding="utf-8")
    assert (storage / "latest").resolve() == path

    before = {name: _list_files(stage) for name, stage in stages.items()}
    again = run_reproduce(prepare_reproduce(compose_tiny(storage)))

    assert again == path
    assert {name: _list_files(stage) for name, stage in stages.items()} == before


KILLED = """
import os, signal, sys
from pathlib import Path
from s1ray.orchestration import reproduce
from tests.recipes import compose_tiny
reproduce.run_evaluation = lambda _: os.kill(os.getpid(), signal.SIGKILL)
reproduce.run_reproduce(reproduce.prepare_reproduce(compose_tiny(Path(sys.argv[1]))))
"""


def test_second_run_that_is_killed_leaves_the_first_one_as_it_was(
    path: Path, storage: Path
) -> None:
    before = _list_files(path)

    killed = subprocess.run([sys.executable, "-c", KILLED, str(storage)], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert _list_files(path) == before
    assert read_manifest(path) is not None


def test_recipe_of_which_a_stage_was_removed_is_unfinished_until_it_is_done_again(
    path: Path, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = prepare_reproduce(compose_tiny(storage))
    (_stages(path)["trained"] / MANIFEST).unlink()
    with hold_elsewhere(path), pytest.raises(HeldError):
        run_reproduce(plan)
    assert read_manifest(path) is not None

    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(reproduce, "run_evaluation", lambda _: 1 / 0)
        run_reproduce(plan)
    assert read_manifest(path) is None

    assert run_reproduce(plan) == path
    assert read_manifest(path) is not None
    assert read_manifest(_stages(path)["trained"]) is not None


def test_stage_that_was_removed_to_free_space_has_a_place_and_no_time(tmp_path: Path) -> None:
    run, train, curate = (
        name_run(storage=tmp_path, stage=stage, slug="made", identity={})
        for stage in ("reproduce", "train", "curate")
    )
    train.path.mkdir(parents=True)
    finish_run(train, files=[], summary={"seconds": 2.5})

    described = describe_stages(run, {"curate": curate.path, "train": train.path})

    assert described["seconds"] == {"train": 2.5}
    assert described["steps"]["curate"] == f"../../curate/{curate.name}"


def test_reproduce_another_budget_evaluates_again_and_trains_not(
    tiny: Callable[..., Recipe], storage: Path
) -> None:
    first = prepare_reproduce(tiny(storage=storage))
    other = prepare_reproduce(tiny("budget.max_thinking_tokens=[0,6]", storage=storage))

    assert other.training.run.name == first.training.run.name
    assert other.base.run.name == first.base.run.name
    assert other.run.name != first.run.name


@pytest.mark.parametrize(
    "override",
    [
        "tracking.project=other",
        "serving.num_replicas=2",
        "sharding.num_workers=1",
        "ray.max_failures=9",
        "evaluation.runtime.max_in_flight=1",
        "grading.pool.num_workers=1",
    ],
)
def test_names_do_not_change_with_what_does_not_change_results(
    tiny: Callable[..., Recipe], storage: Path, override: str
) -> None:
    first = prepare_reproduce(tiny(storage=storage))
    other = prepare_reproduce(tiny(override, storage=storage))

    assert other.run.name == first.run.name


@pytest.mark.parametrize(
    "override",
    [
        "training.optimizer.learning_rate=2e-3",
        "pool.sources.running_sums.seed=5",
        "model.random.seed=1",
        "selection.seed=1",
    ],
)
def test_names_change_with_what_changes_the_training(
    tiny: Callable[..., Recipe], storage: Path, override: str
) -> None:
    first = prepare_reproduce(tiny(storage=storage))
    other = prepare_reproduce(tiny(override, storage=storage))

    assert other.training.run.name != first.training.run.name
