"""Fine-tune on Ray Train: workers that are started again until the run is done, or given up.

Ray starts the workers, joins them and starts them again when one dies. It holds no checkpoint of
ours, so nothing depends on its own files: where a run goes on is read from its directory.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import ray.train
from ray.exceptions import RayActorError
from ray.train import FailureConfig, RunConfig
from ray.train.torch import TorchConfig

from s1ray.chat_format import DELIMITERS
from s1ray.config.recipe import Recipe
from s1ray.curation.traces import read_traces
from s1ray.orchestration.cluster.session import ray_session
from s1ray.orchestration.fine_tune.accounts import COST, read_account
from s1ray.orchestration.fine_tune.energy import ENERGY
from s1ray.orchestration.fine_tune.fitting import plan_fit
from s1ray.orchestration.fine_tune.outcome import OUTCOME, explain_failure, read_outcome
from s1ray.orchestration.fine_tune.placement import free_placement
from s1ray.orchestration.fine_tune.starting import (
    DATA,
    check_start,
    choose_start,
    identify_origin,
    settle_resume,
)
from s1ray.orchestration.fine_tune.stopping import STOP, StoppableTrainer, stop_on_signals
from s1ray.orchestration.fine_tune.train_worker import START, WorkerTask, train_worker
from s1ray.orchestration.fine_tune.watching import watch_training
from s1ray.orchestration.fine_tune.workers import (
    check_nodes,
    check_num_workers,
    describe_workers,
)
from s1ray.orchestration.models import PreparedModel, prepare_model
from s1ray.orchestration.run_directory.runs import RefusedError, Run, hash_file, write_json
from s1ray.orchestration.stage import name_stage, open_stage, show_finished
from s1ray.orchestration.steps import Step, describe_step
from s1ray.orchestration.terminal import say
from s1ray.orchestration.training_data.curate import (
    SELECTED,
    CurationPlan,
    prepare_curate,
    run_curate,
)
from s1ray.planning.estimate import Estimate
from s1ray.training.fine_tune import EXPORT, FineTuneJob, tokenize_for
from s1ray.training.network.architecture import check_trainable
from s1ray.training.samples.conditioning import check_conditioning

TOKENIZED = "tokenized"
"""Under the storage: token ids of training sets, shared by all runs."""
_RAY_FILES = "ray"
Worker = Callable[[Mapping[str, Any]], None]
"""What Ray runs on every worker; its argument holds a ``WorkerTask`` as ``task``."""


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

    def list_steps(self) -> list[Step]:
        """Return the curation, where there is one, and the training."""
        training = self.recipe.training
        lengths = {
            "epochs": training.num_epochs,
            "steps": training.max_steps,
            "tokens": training.max_tokens,
        }
        [length] = [f"{number:,} {unit}" for unit, number in lengths.items() if number]
        cost = f"{length}, {training.global_batch_size} samples a step"
        before = self.curation.list_steps() if self.curation else []
        return [*before, describe_step(self.run, cost=cost)]


def prepare_train(recipe: Recipe) -> TrainPlan:
    """Check and name a fine-tune.

    Raises:
        ValueError: Model, traces or a part of the configuration cannot be used.
    """
    check_conditioning(recipe.training.conditioning, DELIMITERS[recipe.model.delimiters])
    model = prepare_model(recipe.model, recipe.paths)
    check_trainable(model.path, degree=recipe.sharding.sequence_parallel)
    if recipe.traces is None:
        curation = prepare_curate(recipe)
        data = curation.run.name.rsplit("-", maxsplit=1)[-1]
    else:
        curation = None
        path = Path(recipe.traces).expanduser()
        read_traces(path)
        data = hash_file(path)
    identity = _identify(recipe, model)
    named = {**identity, DATA: data}
    run = name_stage(recipe, stage="train", slug=recipe.name, identity=named)
    if origin := identify_origin(recipe.checkpoint, run):
        run = name_stage(recipe, stage="train", slug=recipe.name, identity=named | origin)
    check_start(recipe.checkpoint, run, identity=_flatten(identity))
    check_num_workers(recipe)
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


def run_train(plan: TrainPlan, *, worker: Worker = train_worker) -> Path:
    """Do what is missing of a fine-tune and return its directory; ``export/`` holds the model.

    Args:
        plan: From ``prepare_train``.
        worker: What every worker runs; another one where a run is to be disturbed.

    Raises:
        RefusedError: Another job holds the run, there is nothing good to resume from, it would
            not fit its hardware, or a node does not see its directory.
        RuntimeError: Training failed; its last good checkpoint is kept.
        SystemExit: It was asked to stop, and stopped with a checkpoint.
    """
    run, recipe = plan.run, plan.recipe
    resume = settle_resume(recipe.checkpoint, run)
    is_starting_over = resume == "never"
    if run.is_finished and not is_starting_over:
        if plan.curation is not None and plan.curation.run.is_finished:
            run_curate(plan.curation)
        show_finished(run, recipe)
        return run.path
    if plan.curation is not None:
        run_curate(plan.curation)
    planned = _plan_fit(plan)
    with open_stage(run, recipe, is_starting_over=is_starting_over) as stage:
        job = describe_job(plan)
        origin = choose_start(recipe.checkpoint, run, resume=resume, identity=job.identity)
        job = replace(job, resume_from=origin)
        _forget_attempt(run, is_starting_over=is_starting_over)
        with (
            ray_session(recipe.ray),
            stop_on_signals((run.path / STOP).touch, has_begun=(run.path / START).exists) as stop,
            watch_training(run.path, title="train", num_workers=recipe.sharding.num_workers),
        ):
            check_nodes(job, recipe.ray, traces_path=plan.traces_path)
            _fit(plan, job, worker)
        outcome = read_outcome(run.path)
        assert outcome is not None  # rank 0 has written it
        if outcome.error is not None:
            raise RuntimeError(outcome.error)
        if not outcome.is_finished:
            say("stopped with a checkpoint; the same command goes on from there")
            raise SystemExit(128 + (stop.signal or 0))
        stage.files += _list_results(run, planned=planned)
    return run.path


def _forget_attempt(run: Run, *, is_starting_over: bool) -> None:
    """Remove what the workers of an attempt before left, and what they used where it is undone."""
    for name in (OUTCOME, STOP, START):
        (run.path / name).unlink(missing_ok=True)
    if is_starting_over:
        shutil.rmtree(run.path / ENERGY, ignore_errors=True)


def _list_results(run: Run, *, planned: Estimate | None) -> list[str]:
    """Write what the run cost, and return the files that it is made of when it is finished."""
    account = read_account(run.path, planned=planned)
    write_json(run.path / COST, account.describe())
    say(f"  {account.summarize()}")
    weights = sorted(path.name for path in (run.path / EXPORT).glob("*.safetensors"))
    return [COST, *(f"{EXPORT}/{name}" for name in weights)]


def _plan_fit(plan: TrainPlan) -> Estimate | None:
    if plan.recipe.planning.misfit == "ignore":
        return None
    try:
        examples = tokenize_for(describe_job(plan), read_traces(plan.traces_path)).examples
    except ValueError as error:
        raise RefusedError(str(error)) from error
    lengths = [len(example.input_ids) for example in examples]
    planned = plan_fit(plan.recipe, model_path=plan.model.path, lengths=lengths)
    return None if planned is None else planned.estimate


def describe_job(plan: TrainPlan) -> FineTuneJob:
    """Return what the workers are told; the traces must be there."""
    recipe, data = plan.recipe, hash_file(plan.traces_path)
    return FineTuneJob(
        model=recipe.model,
        model_path=plan.model.path,
        training=recipe.training,
        sharding=recipe.sharding,
        checkpoint=recipe.checkpoint,
        run_path=plan.run.path,
        identity=_flatten({**_identify(recipe, plan.model), DATA: data}),
        resume_from=None,
        token_cache=_name_token_cache(plan, data=data),
    )


def _name_token_cache(plan: TrainPlan, *, data: str) -> Path:
    """Return where the traces lie as token ids, under everything that changes these."""
    recipe = plan.recipe
    fingerprint = plan.model.fingerprint
    made_of = [
        data,
        fingerprint.tokenizer,
        fingerprint.chat_template,
        asdict(DELIMITERS[recipe.model.delimiters]),
        recipe.model.system_prompt,
        recipe.training.max_seq_len,
        recipe.training.overflow,
        recipe.training.conditioning,
    ]
    digest = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
    return plan.run.path.parents[1] / TOKENIZED / f"{digest}.safetensors"


def _flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value)
    return flat


def _fit(plan: TrainPlan, job: FineTuneJob, worker: Worker) -> None:
    """Run the workers until the outcome is written, over as many restarts as are allowed."""
    settings, run = plan.recipe.ray, plan.run
    # Ray's own record of a run may be torn by a kill and would then fail every restart.
    shutil.rmtree(run.path / _RAY_FILES, ignore_errors=True)
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    # A worker that does not even answer is found by Ray's own polls, in the same time.
    os.environ["RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S"] = str(settings.collective_timeout_seconds)
    trainer = StoppableTrainer(
        worker,
        train_loop_config={"task": _describe_task(plan, job)},
        torch_config=TorchConfig(
            # Offloaded gradients are summed where they lie: in host memory, out of NCCL's reach.
            backend="cpu:gloo,cuda:nccl" if job.sharding.device == "cuda" else None,
            timeout_s=settings.collective_timeout_seconds,
        ),
        scaling_config=describe_workers(settings, job.sharding),
        run_config=RunConfig(
            name=run.name,
            storage_path=str(run.path / _RAY_FILES),
            failure_config=FailureConfig(max_failures=settings.max_failures),
        ),
    )
    free_placement(run.path)
    try:
        trainer.fit()
    except (ray.train.TrainingFailedError, RayActorError) as error:
        raise RuntimeError(
            explain_failure(run.path, error, max_failures=settings.max_failures)
        ) from error
    finally:
        free_placement(run.path)


def _describe_task(plan: TrainPlan, job: FineTuneJob) -> WorkerTask:
    return WorkerTask(
        job=job,
        traces_path=plan.traces_path,
        num_threads=int(plan.recipe.ray.worker_cpus),
        cluster=plan.recipe.cluster,
        drain_poll_seconds=plan.recipe.ray.drain_poll_seconds,
    )
