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
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from s1ray.config.training import ShardingConfig, TrainingConfig
from s1ray.records import StepMetrics, TokenizedExample
from s1ray.training.adapters import add_adapters, initialize_adapters
from s1ray.training.attention import describe_documents
from s1ray.training.batching import BatchPlan, StepPlan, count_steps, plan_steps
from s1ray.training.model import (
    FlopCount,
    PackedLanguageModel,
    count_flops,
    create_causal_lm,
    load_weights,
    materialize,
)
from s1ray.training.optimizer import build_optimizer
from s1ray.training.packing import (
    IGNORE_INDEX,
    PackedBatch,
    count_padding,
    count_supervised,
    cut_row,
    pack,
    weigh_samples,
)
from s1ray.training.schedule import Schedule, build_schedule
from s1ray.training.sequence import check_degree
from s1ray.training.sharding import DTYPES, Ranks, shard

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

    Raises:
        ValueError: The directory, the adapters' targets or the sequence parallelism do not fit.
    """
    model = _build_model(path, training=training, sharding=sharding)
    shard(
        model,
        ranks=ranks,
        config=sharding,
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
    check_degree(
        sharding.sequence_parallel,
        num_heads=causal_lm.config.num_attention_heads,
        num_key_value_heads=causal_lm.config.num_key_value_heads,
    )
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

    Raises:
        FloatingPointError: The loss or the gradient is not finite. The optimizer step was not
            taken and the samples are named. Every rank raises alike.
        ValueError: The state's position does not belong to these examples.
    """
    run = _Run(
        examples=examples,
        training=training,
        sharding=sharding,
        ranks=ranks,
        schedule=_build_schedule(training, num_samples=len(examples)),
        flops=count_flops(state.model),
    )
    plan = BatchPlan(
        seed=training.seed,
        num_epochs=training.num_epochs,
        global_batch_size=training.global_batch_size,
        micro_batch_tokens=sharding.micro_batch_tokens,
        num_groups=ranks.num_groups,
    )
    lengths = [len(example.input_ids) for example in examples]
    for step in plan_steps(lengths, plan=plan, samples_consumed=state.samples_consumed):
        yield _do_step(state, step, run)


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
    sample_losses = _accumulate_gradient(state.model, batches, step=step, run=run)
    grad_norm = _clip_gradient(state.model, max_norm=run.training.optimizer.max_grad_norm)
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


def _accumulate_gradient(
    model: PackedLanguageModel, batches: Sequence[PackedBatch], *, step: StepPlan, run: _Run
) -> list[float]:
    """Add the step's gradient to the parameters and return the summed loss of each sample."""
    ranks = run.ranks
    sums = torch.zeros(len(step.samples) + 1, dtype=torch.float64, device=ranks.device)
    for batch in batches:
        row = cut_row(batch, part=ranks.part, num_parts=ranks.sequence_parallel)
        supervised = (row.labels != IGNORE_INDEX).nonzero().squeeze(-1)
        result = model(
            input_ids=row.input_ids.to(ranks.device),
            position_ids=row.position_ids.to(ranks.device),
            supervised=supervised.to(ranks.device),
            targets=row.labels[supervised].to(ranks.device),
            loss_weights=row.loss_weights[supervised].to(ranks.device),
            documents=describe_documents(
                batch.document_lengths,
                backend=run.sharding.attention,
                device=ranks.device,
                sequence_group=ranks.sequence_group,
            ),
        )
        # FSDP averages gradients over ranks; the step's loss is their sum.
        (result.loss * ranks.world_size).backward()
        slots = row.sample_slots[supervised].to(ranks.device)
        sums.index_add_(0, slots, result.token_losses.to(torch.float64))
    return list(map(float, ranks.reduce(sums, is_maximum=False).tolist()[:-1]))


def _clip_gradient(model: PackedLanguageModel, *, max_norm: float) -> float:
    """Scale the gradient down to ``max_norm`` and return its norm before."""
    norm: Tensor = clip_grad_norm_(model.parameters(), max_norm)
    whole = norm.full_tensor() if isinstance(norm, DTensor) else norm
    return float(whole)


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


def _build_schedule(training: TrainingConfig, *, num_samples: int) -> Schedule:
    num_steps = count_steps(
        num_samples,
        global_batch_size=training.global_batch_size,
        num_epochs=training.num_epochs,
    )
    return build_schedule(
        peak_learning_rate=training.optimizer.learning_rate,
        warmup_ratio=training.optimizer.warmup_ratio,
        num_steps=num_steps,
    )
