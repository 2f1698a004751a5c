"""What cannot be gone on from is refused before any worker is started."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from s1ray.config.recipe import Recipe
from s1ray.orchestration.fine_tune.starting import choose_start, settle_resume
from s1ray.orchestration.fine_tune.train import TrainPlan, describe_job, prepare_train
from s1ray.orchestration.run_directory.runs import RefusedError, Run, begin_run, finish_run
from s1ray.training.checkpoints.commit import (
    CheckpointKind,
    Manifest,
    name_checkpoint,
    read_manifest,
    record_file,
    write_manifest,
)
from s1ray.training.checkpoints.search import list_committed
from s1ray.training.fine_tune import CHECKPOINTS
from tests.recipes import TRACE, write_traces

Compose = Callable[..., Recipe]
DRIFTS = {
    "training.optimizer.learning_rate": "training.optimizer.learning_rate=0.5",
    "training.num_epochs": "training.num_epochs=3",
    "system_prompt": "model.system_prompt=Hello",
}


@pytest.fixture
def checkpoint(tmp_path: Path, tiny: Compose) -> Path:
    """A checkpoint of the tiny run, as far as its manifest says."""
    plan = prepare_train(tiny(f"traces={write_traces(tmp_path)}"))
    return commit(tmp_path / "elsewhere", identity=describe_job(plan).identity)


def choose(recipe: Recipe, run: Run, *, identity: Mapping[str, str]) -> Path | None:
    """Choose where a run starts as a job does that holds it."""
    resume = settle_resume(recipe.checkpoint, run)
    return choose_start(recipe.checkpoint, run, resume=resume, identity=identity)


def commit(directory: Path, *, identity: Mapping[str, str], step: int = 2) -> Path:
    made = name_checkpoint(directory, step=step)
    (made / "payload").write_bytes(b"weights")
    manifest = Manifest(
        step=step,
        samples_consumed=8,
        kind=CheckpointKind.PERMANENT,
        world_size=1,
        identity=identity,
        time=1.0,
        files={"payload": record_file(made / "payload")},
    )
    write_manifest(made, manifest)
    return made


def test_run_from_another_ones_checkpoint_is_another_run_until_it_has_its_own(
    tmp_path: Path, tiny: Compose, checkpoint: Path
) -> None:
    traces = f"traces={tmp_path}/traces.jsonl"
    plain = prepare_train(tiny(traces)).run
    recipe = tiny(traces, f"checkpoint.resume={checkpoint}")
    plan = prepare_train(recipe)
    identity = describe_job(plan).identity
    assert plan.run.name != plain.name
    begin_run(plan.run, config_yaml="")

    assert choose(recipe, plan.run, identity=identity) == checkpoint

    commit(plan.run.path / "checkpoints", identity=identity)
    assert choose(recipe, plan.run, identity=identity) is None


def test_own_earlier_checkpoint_names_the_same_run(
    tmp_path: Path, tiny: Compose, checkpoint: Path
) -> None:
    traces = f"traces={tmp_path}/traces.jsonl"
    plan = prepare_train(tiny(traces))
    own = commit(plan.run.path / "checkpoints", identity=describe_job(plan).identity)

    assert prepare_train(tiny(traces, f"checkpoint.resume={own}")).run == plan.run


@pytest.fixture
def started(tmp_path: Path, tiny: Compose) -> TrainPlan:
    """A run that has the checkpoints 2 and 4."""
    plan = prepare_train(tiny(f"traces={write_traces(tmp_path)}"))
    begin_run(plan.run, config_yaml="")
    for step in (2, 4):
        commit(plan.run.path / CHECKPOINTS, identity=describe_job(plan).identity, step=step)
    return plan


def list_steps(run: Run) -> list[int]:
    return sorted(read_manifest(path).step for path in list_committed(run.path / CHECKPOINTS))


@pytest.mark.parametrize("name", ["never", "step_00000002.a0"])
def test_checkpoints_are_deleted_once_and_the_same_command_goes_on_from_new_ones(
    tmp_path: Path, tiny: Compose, started: TrainPlan, name: str
) -> None:
    run, identity = started.run, describe_job(started).identity
    resume = name if name == "never" else run.path / CHECKPOINTS / name
    recipe = tiny(f"traces={tmp_path}/traces.jsonl", f"checkpoint.resume={resume}")

    choose(recipe, run, identity=identity)
    assert list_steps(run) == ([] if name == "never" else [2])

    commit(run.path / CHECKPOINTS, identity=identity, step=6)
    if name != "never":  # as retention does
        shutil.rmtree(run.path / CHECKPOINTS / name)
    assert prepare_train(recipe).run == run
    choose(recipe, run, identity=identity)
    assert list_steps(run) == [6]


def test_checkpoints_are_deleted_again_where_another_command_came_between(
    tmp_path: Path, tiny: Compose, started: TrainPlan
) -> None:
    run, identity = started.run, describe_job(started).identity
    never = tiny(f"traces={tmp_path}/traces.jsonl", "checkpoint.resume=never")
    choose(never, run, identity=identity)
    commit(run.path / CHECKPOINTS, identity=identity, step=6)

    choose(started.recipe, run, identity=identity)
    assert list_steps(run) == [6]

    choose(never, run, identity=identity)
    assert list_steps(run) == []


def test_finished_run_starts_over_as_often_as_it_is_asked_to(
    tmp_path: Path, tiny: Compose, started: TrainPlan
) -> None:
    run, identity = started.run, describe_job(started).identity
    never = tiny(f"traces={tmp_path}/traces.jsonl", "checkpoint.resume=never")
    choose(never, run, identity=identity)
    assert settle_resume(never.checkpoint, run) == "auto"

    finish_run(run, files=[], summary={})

    assert settle_resume(never.checkpoint, run) == "never"


@pytest.mark.parametrize(
    "name", ["training.optimizer.learning_rate", "training.num_epochs", "system_prompt"]
)
def test_drift_is_refused_by_name_and_let_through_by_name(
    tmp_path: Path, tiny: Compose, checkpoint: Path, name: str
) -> None:
    overrides = [f"traces={tmp_path}/traces.jsonl", f"checkpoint.resume={checkpoint}", DRIFTS[name]]

    with pytest.raises(ValueError, match=rf"{name} is .* and was .*allow_drift=\[{name}\]"):
        prepare_train(tiny(*overrides))

    assert prepare_train(tiny(*overrides, f"checkpoint.allow_drift=[{name}]"))


@pytest.mark.parametrize("name", ["model.tokenizer", "model.chat_template", "model.weights"])
def test_other_model_tokenizer_or_template_is_refused_by_name(
    tmp_path: Path, tiny: Compose, name: str
) -> None:
    traces = f"traces={write_traces(tmp_path)}"
    identity = describe_job(prepare_train(tiny(traces))).identity
    assert name in identity
    other = commit(tmp_path / "elsewhere", identity={**identity, name: '"other"'})

    with pytest.raises(ValueError, match=rf"{name} is .* and was \"other\".*allow_drift"):
        prepare_train(tiny(traces, f"checkpoint.resume={other}"))


def test_other_data_is_refused_before_ray_starts(
    tmp_path: Path, tiny: Compose, checkpoint: Path
) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text(TRACE.replace("1 + 1?", "1+1?") + "\n", encoding="utf-8")
    recipe = tiny(f"traces={other}", f"checkpoint.resume={checkpoint}")
    plan = prepare_train(recipe)

    with pytest.raises(RefusedError, match=r"data is .* and was .*allow_drift=\[data\]"):
        choose(recipe, plan.run, identity=describe_job(plan).identity)


@pytest.mark.parametrize(
    ("resume", "words"),
    [("must", "has no checkpoint"), ("/nowhere", "never committed"), ("nonsense", "never commit")],
)
def test_nothing_to_resume_from_is_bad_input(
    tmp_path: Path, tiny: Compose, resume: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        prepare_train(tiny(f"traces={write_traces(tmp_path)}", f"checkpoint.resume={resume}"))


def test_more_workers_at_least_than_at_most_is_refused(tiny: Compose) -> None:
    with pytest.raises(ValueError, match=r"ray.min_workers=3 is more than sharding.num_workers=2"):
        prepare_train(tiny("ray.min_workers=3"))
