"""Fine-tune on Ray Train: the plain ``fine_tune`` on every worker, checkpoints by our own protocol.

Ray starts the workers, joins them and starts them again when one dies. It holds no checkpoint of
ours, so nothing depends on its own files: where a run goes on is read from its directory.
"""

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.exceptions import RayActorError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from s1ray.config.recipe import Recipe
from s1ray.curation.traces import read_traces
from s1ray.orchestration.curate import SELECTED, CurationPlan, prepare_curate, run_curate
from s1ray.orchestration.events import EventLog
from s1ray.orchestration.models import PreparedModel, prepare_model
from s1ray.orchestration.runs import Run, hash_file, update_description, write_json
from s1ray.orchestration.session import ray_session
from s1ray.orchestration.stage import name_stage, open_stage
from s1ray.orchestration.stopping import STOP, stop_on_signals
from s1ray.orchestration.terminal import say
from s1ray.orchestration.watching import watch_training
from s1ray.records import StepMetrics
from s1ray.training.checkpoint_search import choose_checkpoint
from s1ray.training.fine_tune import (
    CHECKPOINTS,
    EXPORT,
    FineTuneJob,
    FineTuneStart,
    fine_tune,
)

OUTCOME = "outcome.json"
START = "start.json"
_RAY_FILES = "ray"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPlan:
    """One fine-tune, checked and named; nothing has been started."""

    recipe: Recipe
    run: Run
    model: PreparedModel
    curation: CurationPlan | None
    """Where the traces come from; None where the recipe names a file of traces."""

    @property
    def traces_path(self) -> Path:
        """The traces, once curation is done."""
        if self.curation is None:
            return Path(str(self.recipe.traces)).expanduser().absolute()
        return self.curation.run.path / SELECTED


def prepare_train(recipe: Recipe) -> TrainPlan:
    """Check and name a fine-tune.

    Raises:
        ValueError: Model, traces or a part of the configuration cannot be used.
    """
    model = prepare_model(recipe.model, recipe.paths)
    if recipe.traces is None:
        curation = prepare_curate(recipe)
        data = curation.run.name.rsplit("-", maxsplit=1)[-1]
    else:
        curation = None
        path = Path(recipe.traces).expanduser()
        read_traces(path)
        data = hash_file(path)
    identity = {**_identify(recipe, model), "data": data}
    run = name_stage(recipe, stage="train", slug=recipe.name, identity=identity)
    return TrainPlan(recipe=recipe, run=run, model=model, curation=curation)


def _identify(recipe: Recipe, model: PreparedModel) -> dict[str, Any]:
    return {
        "model": model.describe(),
        "training": recipe.training.model_dump(mode="json"),
        "delimiters": recipe.model.delimiters,
        "system_prompt": recipe.model.system_prompt,
        "export": {
            "dtype": recipe.checkpoint.export.dtype.value,
            "merge_adapter": recipe.checkpoint.export.merge_adapter,
        },
    }


def run_train(plan: TrainPlan) -> Path:
    """Do what is missing of a fine-tune and return its directory; ``export/`` holds the model.

    Raises:
        RuntimeError: Training failed; its last good checkpoint is kept.
        SystemExit: It was asked to stop, and stopped with a checkpoint.
    """
    run, recipe = plan.run, plan.recipe
    if run.is_finished:
        say(f"train: {run.name} is finished already")
        return run.path
    if plan.curation is not None:
        run_curate(plan.curation)
    with open_stage(run, recipe) as stage, ray_session(recipe.ray):
        job = describe_job(plan, resume_from=_choose_start(plan))
        for name in (OUTCOME, STOP, START):
            (run.path / name).unlink(missing_ok=True)
        with stop_on_signals(run.path) as stop, watch_training(run.path, title="train"):
            _fit(plan, job)
        outcome = json.loads((run.path / OUTCOME).read_text(encoding="utf-8"))
        if outcome["error"] is not None:
            raise RuntimeError(outcome["error"])
        if not outcome["is_finished"]:
            say("stopped with a checkpoint; the same command goes on from there")
            raise SystemExit(128 + (stop.signal or 0))
        weights = sorted(path.name for path in (run.path / EXPORT).glob("*.safetensors"))
        stage.files += [f"{EXPORT}/{name}" for name in weights]
    return run.path


def _choose_start(plan: TrainPlan) -> Path | None:
    """Return a checkpoint outside the run that it begins from, while the run's lease is held.

    A checkpoint of the run's own is found again by its workers, also after one of them died.
    """
    checkpoint, run = plan.recipe.checkpoint, plan.run
    search = choose_checkpoint(
        run.path / CHECKPOINTS, resume=checkpoint.resume, num_threads=checkpoint.verify_threads
    )
    if search.newest is None:
        return None
    path = Path(search.newest.path)
    say(f"  resuming after step {search.newest.step}: {path}")
    update_description(run, resumed_from=str(path))
    return None if path.is_relative_to(run.path) else path


def describe_job(plan: TrainPlan, *, resume_from: Path | None) -> FineTuneJob:
    """Return what the workers are told; the traces must be there."""
    recipe = plan.recipe
    return FineTuneJob(
        model=recipe.model,
        model_path=plan.model.path,
        training=recipe.training,
        sharding=recipe.sharding,
        checkpoint=recipe.checkpoint,
        run_path=plan.run.path,
        identity=_flatten({**_identify(recipe, plan.model), "data": hash_file(plan.traces_path)}),
        resume_from=resume_from,
    )


def _flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value)
    return flat


def _fit(plan: TrainPlan, job: FineTuneJob) -> None:
    """Run the workers until the outcome is written, over as many restarts as are allowed."""
    settings, run = plan.recipe.ray, plan.run
    # Ray's own record of a run may be torn by a kill and would then fail every restart.
    shutil.rmtree(run.path / _RAY_FILES, ignore_errors=True)
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    use_gpu = job.sharding.device == "cuda"
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={
            "job": job,
            "traces": str(plan.traces_path),
            "num_threads": settings.worker_cpus,
        },
        torch_config=TorchConfig(timeout_s=settings.collective_timeout_seconds),
        scaling_config=ScalingConfig(
            num_workers=job.sharding.num_workers,
            use_gpu=use_gpu,
            resources_per_worker={"CPU": settings.worker_cpus} | ({"GPU": 1} if use_gpu else {}),
        ),
        run_config=RunConfig(
            name=run.name,
            storage_path=str(run.path / _RAY_FILES),
            failure_config=FailureConfig(max_failures=settings.max_failures),
        ),
    )
    try:
        trainer.fit()
    except (ray.train.TrainingFailedError, RayActorError) as error:
        raise RuntimeError(
            f"training failed {settings.max_failures + 1} times, the last time with: {error}\n"
            "The last good checkpoint is kept; run the same command again to go on from it."
        ) from error


def train_worker(config: Mapping[str, Any]) -> None:
    """Run ``fine_tune`` on one Ray Train worker; rank 0 writes the run's records."""
    job: FineTuneJob = config["job"]
    if job.sharding.device == "cpu":
        torch.set_num_threads(max(1, int(config["num_threads"])))
    is_writer = ray.train.get_context().get_world_rank() == 0
    traces = read_traces(Path(config["traces"]))
    events = EventLog(job.run_path) if is_writer else None
    error = None
    is_finished = False

    def on_start(start: FineTuneStart) -> None:
        if is_writer:
            write_json(job.run_path / START, describe_start(start))

    def on_step(metrics: StepMetrics) -> None:
        if events is not None:
            events.append(metrics.step, name_metrics(metrics))

    try:
        is_finished = fine_tune(
            job,
            traces,
            on_start=on_start,
            on_step=on_step,
            should_stop=lambda: is_writer and (job.run_path / STOP).exists(),
        )
    except (ValueError, FloatingPointError) as bad:  # a restart would meet the same again
        error = f"{type(bad).__name__}: {bad}"
    if is_writer:
        write_json(job.run_path / OUTCOME, {"is_finished": is_finished, "error": error})


def describe_start(start: FineTuneStart) -> dict[str, Any]:
    """Return the content of ``start.json``."""
    examples = start.examples
    return {
        "time": time.time(),
        "step": start.checkpoint.step if start.checkpoint else 0,
        "num_steps": start.num_steps,
        "passed_over": list(start.passed_over),
        "num_samples": len(examples.examples),
        "num_tokens": sum(len(example.input_ids) for example in examples.examples),
        "num_truncated_samples": examples.num_truncated_samples,
        "num_truncated_tokens": examples.num_truncated_tokens,
        "num_dropped_samples": examples.num_dropped_samples,
    }


def name_metrics(metrics: StepMetrics) -> dict[str, float | str | None]:
    """Return a step's metrics under the names that events and dashboards use."""
    names = {"loss_nats": "loss_nats_per_token"}
    values = asdict(metrics)
    del values["step"]
    return {f"train/{names.get(name, name)}": value for name, value in values.items()}
