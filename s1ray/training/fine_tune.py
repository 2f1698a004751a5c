"""One fine-tune from traces to an exported model, on any number of ranks, resumable at any instant.

It joins the rooms of this package: examples, state, loop, saver, export. It does not know Ray or
who started the ranks; whoever calls it says what to do with a step's metrics and when to stop.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from s1ray.chat_format import DELIMITERS
from s1ray.config.checkpoint import CheckpointConfig
from s1ray.config.model import ModelConfig
from s1ray.config.training import ShardingConfig, TrainingConfig
from s1ray.model_source.model_directory import load_tokenizer
from s1ray.records import CheckpointRef, ReasoningTrace, StepMetrics
from s1ray.training.checkpoints.peers import join_peers
from s1ray.training.checkpoints.restoration import load_checkpoint
from s1ray.training.checkpoints.saver import CheckpointSaver
from s1ray.training.checkpoints.search import CheckpointSearch, choose_checkpoint
from s1ray.training.export import export_adapter, export_model
from s1ray.training.loop import TrainState, plan_batches, start_state, train
from s1ray.training.network.sharding import Ranks, join_ranks
from s1ray.training.samples.batching import count_run_steps
from s1ray.training.samples.conditioning import condition_traces
from s1ray.training.samples.examples import TokenizedSet, tokenize_traces
from s1ray.training.samples.token_cache import remember_examples

CHECKPOINTS = "checkpoints"
EXPORT = "export"
_KEPT_KERNELS = "64"
"""More than one row of a model takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneJob:
    """What is trained, how, and where it lies."""

    model: ModelConfig
    model_path: Path
    training: TrainingConfig
    sharding: ShardingConfig
    checkpoint: CheckpointConfig
    run_path: Path
    """Takes ``checkpoints/`` and ``export/``."""
    identity: Mapping[str, str]
    """What must be equal in a run that goes on from these checkpoints."""
    resume_from: Path | None
    """Where the run begins while it has no checkpoint of its own; None for the base model."""
    token_cache: Path | None
    """File of the tokenised traces, named by the fingerprint of all that makes them; None for no
    file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneStart:
    """Where a fine-tune begins, known on every rank before its first step."""

    checkpoint: CheckpointRef | None
    passed_over: tuple[str, ...]
    """Damaged checkpoints that were newer, with what is wrong."""
    num_steps: int
    """Of the whole run."""
    examples: TokenizedSet


def tokenize_for(job: FineTuneJob, traces: Sequence[ReasoningTrace]) -> TokenizedSet:
    """Return the job's examples, from its cache where they are there; see ``tokenize_traces``."""

    def make() -> TokenizedSet:
        return tokenize_with(traces, model=job.model, path=job.model_path, training=job.training)

    if job.token_cache is None:
        return make()
    return remember_examples(job.token_cache, make=make)


def tokenize_with(
    traces: Sequence[ReasoningTrace], *, model: ModelConfig, path: Path, training: TrainingConfig
) -> TokenizedSet:
    """Return the examples that a fine-tune makes of traces; see ``tokenize_traces``.

    Args:
        traces: What is trained on.
        model: Its delimiters and system prompt.
        path: A directory with its tokenizer.
        training: What is done with traces that are too long, and how they are conditioned.
    """
    tokenizer, delimiters = load_tokenizer(path), DELIMITERS[model.delimiters]
    return tokenize_traces(
        condition_traces(
            traces,
            conditioning=training.conditioning,
            tokenizer=tokenizer,
            delimiters=delimiters,
        ),
        tokenizer,
        delimiters=delimiters,
        system_prompt=model.system_prompt,
        max_seq_len=training.max_seq_len,
        overflow=training.overflow,
    )


def fine_tune(
    job: FineTuneJob,
    traces: Sequence[ReasoningTrace],
    *,
    on_start: Callable[[FineTuneStart], None],
    on_step: Callable[[StepMetrics], None],
    should_stop: Callable[[], bool],
    should_hurry: Callable[[], bool],
) -> bool:
    """Train to the end and export, or to where it is asked to stop; a collective call.

    Args:
        job: The same on every rank.
        traces: The same on every rank.
        on_start: Called once on every rank, when the start is known.
        on_step: Called on every rank after every step.
        should_stop: Asked on every rank after every step; one yes saves and ends the run on all.
        should_hurry: Asked as often: whether this rank may soon be killed. One yes saves at once.

    Returns:
        Whether the run is finished and exported; otherwise a checkpoint of its last step exists.

    Raises:
        ValueError: The checkpoint belongs to another run, or the samples do not fit.
        FloatingPointError: See ``train``.
    """
    _bound_kernel_caches()
    ranks = join_ranks(job.sharding)
    state, start = _begin(job, traces, ranks)
    on_start(start)
    steps = _train(job, state, start, ranks)
    directory = job.run_path / CHECKPOINTS
    with closing(CheckpointSaver(directory, config=job.checkpoint, identity=job.identity)) as saver:
        for metrics in steps:
            on_step(metrics)
            is_last = metrics.step == start.num_steps
            outcome = saver.after_step(
                state, is_last=is_last, is_stopping=should_stop(), is_hurried=should_hurry()
            )
            if outcome.is_stopping and not is_last:
                return False
    _export(job, state)
    return True


def _bound_kernel_caches() -> None:
    """Let oneDNN forget the kernels of rows that are over; before this process's first product.

    On processors it makes kernels for every shape and keeps those of 1,024, and packed rows have
    ever new lengths: in bfloat16 a fine-tune of 135M parameters grew from 4 to 19 GB in 570 steps.
    The layers of one row share kernels, so few are made again.
    Source: pytorch/pytorch#98688; the two names are torch's and oneDNN's.
    """
    for name in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
        os.environ.setdefault(name, _KEPT_KERNELS)


def _train(
    job: FineTuneJob, state: TrainState, start: FineTuneStart, ranks: Ranks
) -> Iterator[StepMetrics]:
    return train(
        state,
        examples=start.examples.examples,
        training=job.training,
        sharding=job.sharding,
        ranks=ranks,
    )


def _begin(
    job: FineTuneJob, traces: Sequence[ReasoningTrace], ranks: Ranks
) -> tuple[TrainState, FineTuneStart]:
    """Return the state before the first step, and what is known then; samples are read first."""
    examples = tokenize_for(job, traces)
    num_steps = count_run_steps(
        [len(example.input_ids) for example in examples.examples],
        plan=plan_batches(job.training, sharding=job.sharding, ranks=ranks),
    )
    state, search = _restore(job, ranks)
    return state, FineTuneStart(
        checkpoint=search.newest,
        passed_over=tuple(f"{item.path}: {item.reason}" for item in search.passed_over),
        num_steps=num_steps,
        examples=examples,
    )


def _restore(job: FineTuneJob, ranks: Ranks) -> tuple[TrainState, CheckpointSearch]:
    """Return the state to go on from: the newest good checkpoint's, else where the job begins."""
    peers = join_peers(timeout_seconds=job.checkpoint.commit_timeout_seconds)
    state = start_state(job.model_path, training=job.training, sharding=job.sharding, ranks=ranks)
    search = peers.decide(
        lambda: choose_checkpoint(
            job.run_path / CHECKPOINTS,
            resume="auto",
            num_threads=job.checkpoint.verify_threads,
        )
    )
    origin = Path(search.newest.path) if search.newest else job.resume_from
    if origin is not None:
        load_checkpoint(
            state,
            origin,
            identity=job.identity,
            allow_drift=job.checkpoint.allow_drift,
            peers=peers,
        )
    return state, search


def _export(job: FineTuneJob, state: TrainState) -> None:
    peers = join_peers(timeout_seconds=job.checkpoint.commit_timeout_seconds)
    export, target = job.checkpoint.export, job.run_path / EXPORT
    if job.training.lora is not None and not export.merge_adapter:
        export_adapter(
            state.model,
            target,
            source=job.model_path,
            # An id where there is one: the path is this machine's.
            base_model=job.model.source if job.model.revision else str(job.model_path),
            base_revision=job.model.revision,
            peers=peers,
        )
        return
    export_model(
        state.model,
        target,
        source=job.model_path,
        dtype=export.dtype,
        shard_gib=export.shard_gib,
        peers=peers,
    )
