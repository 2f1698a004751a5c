"""The training loop: a generator of StepMetrics that can begin at any step's boundary.

It does not know Ray, files, logs or checkpoints. Whoever iterates decides between two steps what
to save and when to stop; closing the generator leaves the state at the last yielded step.
"""

import math
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.optim import Optimizer

from s1ray.config.training import ShardingConfig, TrainingConfig
from s1ray.records import StepMetrics, TokenizedExample
from s1ray.training.gradient import accumulate_gradient, clip_gradient
from s1ray.training.network.adapters import add_adapters, initialize_adapters
from s1ray.training.network.architecture import check_heads
from s1ray.training.network.model import (
    FlopCount,
    PackedLanguageModel,
    count_flops,
    create_causal_lm,
    load_weights,
    materialize,
)
from s1ray.training.network.sharding import DTYPES, Ranks, shard
from s1ray.training.optimizer import build_optimizer
from s1ray.training.samples.batching import BatchPlan, StepPlan, count_run_steps, plan_steps
from s1ray.training.samples.packing import (
    count_padding,
    count_supervised,
    pack,
    weigh_samples,
)
from s1ray.training.schedule import Schedule, build_schedule

GIB = 2**30


@dataclass(slots=True, kw_only=True)
class TrainState:
    """All that changes while training; what a checkpoint holds."""

    model: PackedLanguageModel
    optimizer: Optimizer
    samples_consumed: int
    step: int
    """Optimizer steps done."""


def start_state(
    path: Path, *, training: TrainingConfig, sharding: ShardingConfig, ranks: Ranks
) -> TrainState:
    """Return the state before the first step, with the weights of a local model directory.

    Each rank reads and holds its own slices alone.

    Args:
        path: Of the model directory.
        training: What is computed.
        sharding: On what.
        ranks: Who takes part.

    Raises:
        ValueError: The directory, the adapters' targets or the sequence parallelism do not fit.
    """
    model = _build_model(path, training=training, sharding=sharding)
    shard(
        model,
        ranks=ranks,
        config=sharding,
        adapter_rank=training.lora.rank if training.lora else 0,
        compute=training.compute_dtype,
        reduce=training.reduce_dtype,
    )
    materialize(model, device=ranks.device, is_offloaded=sharding.cpu_offload)
    load_weights(model, path)
    initialize_adapters(model, seed=training.seed)
    model.train()
    return TrainState(
        model=model,
        optimizer=build_optimizer(model, config=training.optimizer),
        samples_consumed=0,
        step=0,
    )


def _build_model(
    path: Path, *, training: TrainingConfig, sharding: ShardingConfig
) -> PackedLanguageModel:
    lora = training.lora
    causal_lm = create_causal_lm(path, dtype=DTYPES["float32" if lora is None else lora.base_dtype])
    check_heads(causal_lm.config, degree=sharding.sequence_parallel)
    language_model = causal_lm if lora is None else add_adapters(causal_lm, config=lora)
    return PackedLanguageModel(language_model, loss_chunk_tokens=sharding.loss_chunk_tokens)


def train(
    state: TrainState,
    *,
    examples: Sequence[TokenizedExample],
    training: TrainingConfig,
    sharding: ShardingConfig,
    ranks: Ranks,
) -> Iterator[StepMetrics]:
    """Yield one StepMetrics after each optimizer step until the run's last.

    ``state`` is updated in place; at each yield it is exactly what a checkpoint should hold.

    Args:
        state: Where the run stands.
        examples: All of the run's, in the order that positions count in.
        training: What is computed.
        sharding: On what.
        ranks: Who takes part.

    Raises:
        FloatingPointError: The loss or the gradient is not finite. The optimizer step was not
            taken and the samples are named. Every rank raises alike.
        ValueError: The state's position does not belong to these examples.
    """
    plan = plan_batches(training, sharding=sharding, ranks=ranks)
    lengths = [len(example.input_ids) for example in examples]
    run = _Run(
        examples=examples,
        training=training,
        sharding=sharding,
        ranks=ranks,
        schedule=_build_schedule(training, num_steps=count_run_steps(lengths, plan=plan)),
        flops=count_flops(state.model),
    )
    for step in plan_steps(lengths, plan=plan, samples_consumed=state.samples_consumed):
        yield _do_step(state, step, run)


def plan_batches(training: TrainingConfig, *, sharding: ShardingConfig, ranks: Ranks) -> BatchPlan:
    """Return how the samples of a run are cut, as its configuration says."""
    return BatchPlan(
        seed=training.seed,
        num_epochs=training.num_epochs,
        max_steps=training.max_steps,
        max_tokens=training.max_tokens,
        global_batch_size=training.global_batch_size,
        micro_batch_tokens=sharding.micro_batch_tokens,
        num_groups=ranks.num_groups,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What stays the same from step to step."""

    examples: Sequence[TokenizedExample]
    training: TrainingConfig
    sharding: ShardingConfig
    ranks: Ranks
    schedule: Schedule
    flops: FlopCount


def _do_step(state: TrainState, step: StepPlan, run: _Run) -> StepMetrics:
    began = time.perf_counter()
    token_weights = weigh_samples(
        run.examples, step.samples, loss_weighting=run.training.loss_weighting
    )
    batches = [
        pack(
            run.examples,
            samples,
            token_weights=token_weights,
            multiple_of=run.ranks.sequence_parallel,
        )
        for samples in step.groups[run.ranks.group]
    ]
    sample_losses = accumulate_gradient(
        state.model,
        batches,
        num_samples=len(step.samples),
        ranks=run.ranks,
        backend=run.sharding.attention,
    )
    grad_norm = clip_gradient(state.model, max_norm=run.training.optimizer.max_grad_norm)
    _check_finite([run.examples[i].key for i in step.samples], sample_losses, grad_norm, step.step)
    learning_rate = run.schedule.learning_rate(step.step)
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate
    state.optimizer.step()
    state.optimizer.zero_grad()
    state.samples_consumed, state.step = step.samples_consumed, step.step
    loss = sum(w * nats for w, nats in zip(token_weights.values(), sample_losses, strict=True))
    return _report(
        step,
        run,
        loss=loss,
        grad_norm=grad_norm,
        learning_rate=learning_rate,
        seconds=time.perf_counter() - began,
    )


def _check_finite(
    keys: Sequence[str], sample_losses: Sequence[float], grad_norm: float, step: int
) -> None:
    bad = [key for key, loss in zip(keys, sample_losses, strict=True) if not math.isfinite(loss)]
    if not bad and math.isfinite(grad_norm):
        return
    what = f"the loss of samples {', '.join(bad)}" if bad else "the gradient"
    raise FloatingPointError(
        f"{what} is not finite in step {step} (gradient norm {grad_norm}); the step was not taken. "
        f"Samples of the step: {', '.join(keys)}. Look at their text, or lower "
        "training.optimizer.learning_rate and resume from the last checkpoint."
    )


def _report(
    step: StepPlan,
    run: _Run,
    *,
    loss: float,
    grad_norm: float,
    learning_rate: float,
    seconds: float,
) -> StepMetrics:
    lengths = [len(run.examples[i].input_ids) for i in step.samples]
    num_padding = sum(
        count_padding(
            sum(len(run.examples[i].input_ids) for i in samples),
            multiple_of=run.ranks.sequence_parallel,
        )
        for group in step.groups
        for samples in group
    )
    peaks = torch.tensor([seconds, _peak_memory_gib(run.ranks.device)], dtype=torch.float64)
    slowest, peak = run.ranks.reduce(peaks.to(run.ranks.device), is_maximum=True).tolist()
    return StepMetrics(
        step=step.step,
        samples_consumed=step.samples_consumed,
        epoch=step.epoch,
        loss_nats=loss,
        grad_norm=grad_norm,
        learning_rate=learning_rate,
        num_tokens=sum(lengths),
        num_supervised_tokens=sum(count_supervised(run.examples[i]) for i in step.samples),
        padding_fraction=num_padding / (sum(lengths) + num_padding),
        balance_efficiency=step.balance_efficiency,
        seconds=slowest,
        tokens_per_second=sum(lengths) / slowest,
        flops=run.flops.of_documents(lengths),
        peak_memory_gib=peak,
    )


def _peak_memory_gib(device: torch.device) -> float:
    """Return the accelerator's peak since the process began; the process's own on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def _build_schedule(training: TrainingConfig, *, num_steps: int) -> Schedule:
    return build_schedule(
        peak_learning_rate=training.optimizer.learning_rate,
        warmup_ratio=training.optimizer.warmup_ratio,
        num_steps=num_steps,
    )
