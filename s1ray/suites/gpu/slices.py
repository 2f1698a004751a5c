"""A few layers of a large model with its whole head and random weights, trained on one device.

Time and memory of 32B parameters on 16 GPUs are nearly linear in layers: two slices give both what
a layer costs and what the head does. What ``jobs.plan`` says of each slice stands beside what it
took. It needs torch and transformers, neither Ray nor a hub.
"""

import gc
import itertools
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import Qwen2Config

from s1ray.config.suites.gpu import GpuSuiteSettings, SlicesConfig
from s1ray.config.tracking import PathsConfig
from s1ray.config.training import ActivationCheckpointing
from s1ray.orchestration.terminal import say
from s1ray.planning.cluster import read_cluster
from s1ray.planning.estimate import estimate
from s1ray.planning.memory import RUNTIME
from s1ray.planning.model import read_shape
from s1ray.planning.recipe import read_recipe
from s1ray.records import StepMetrics, TokenizedExample
from s1ray.suites.measuring.pairs import Spread
from s1ray.suites.suite import Outcome
from s1ray.training.loop import TrainState, train
from s1ray.training.network.model import PackedLanguageModel, create_causal_lm, materialize
from s1ray.training.network.sharding import DTYPES, Ranks, join_ranks, shard
from s1ray.training.optimizer import build_optimizer

GIB = 2**30
OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One combination."""

    num_layers: int
    document_tokens: tuple[int, ...]
    activation_checkpointing: ActivationCheckpointing
    compile: bool

    def describe(self) -> str:
        """Return its name among the results."""
        how = "compiled" if self.compile else "eager"
        return (
            f"{self.num_layers} layers, {sum(self.document_tokens)} tokens, "
            f"{self.activation_checkpointing.value}, {how}"
        )


def measure_slices(settings: GpuSuiteSettings, _: PathsConfig) -> Outcome:
    """Measure milliseconds, model FLOPs utilisation and memory of every combination.

    MFU counts the products of forward and backward once (no recomputation, no input embedding, the
    head at every token) and causal attention at half its square, over ``peak_tflops``.
    """
    results = {}
    for part in _list_slices(settings.slices):
        say(f"  {part.describe()}")
        results[part.describe()] = _measure_or_report(part, settings)
    measured = [name for name, found in results.items() if found != OUT_OF_MEMORY]
    best = max(measured, key=lambda name: results[name]["mfu"]["median"]) if measured else None
    return Outcome(
        summary=f"{len(measured)} of {len(results)} slices fit"
        + (f"; the best at {results[best]['mfu']['median']:.1%} MFU: {best}" if best else ""),
        results={"slices": results},
    )


def _list_slices(config: SlicesConfig) -> Iterator[Slice]:
    for layers, documents, checkpointing, is_compiled in itertools.product(
        config.num_layers, config.document_tokens, config.activation_checkpointing, config.compile
    ):
        yield Slice(
            num_layers=layers,
            document_tokens=documents,
            activation_checkpointing=checkpointing,
            compile=is_compiled,
        )


def _measure_or_report(part: Slice, settings: GpuSuiteSettings) -> Any:  # noqa: ANN401 - JSON
    try:
        return _measure(part, settings)
    except torch.OutOfMemoryError:
        return OUT_OF_MEMORY
    finally:
        gc.collect()
        torch.compiler.reset()
        if settings.sharding.device == "cuda":
            torch.cuda.empty_cache()


def _measure(part: Slice, settings: GpuSuiteSettings) -> dict[str, Any]:
    inner = _configure(part, settings)
    seconds, flops, peak = [], 0.0, 0.0
    for metrics, taken in _take_steps(part, inner):
        seconds.append(taken)
        flops, peak = metrics.flops, metrics.peak_memory_gib
    timed = Spread(values=tuple(seconds[settings.slices.warm_up_steps :]))
    whole = settings.cluster.peak_tflops * 1e12
    planned_seconds, planned_gib = _plan(part, inner)
    return {
        "milliseconds": Spread(values=tuple(1e3 * value for value in timed.values)).describe(),
        "mfu": Spread(values=tuple(flops / value / whole for value in timed.values)).describe(),
        "tokens_per_second": sum(part.document_tokens) / statistics.median(timed.values),
        "peak_memory_gib": peak,
        "planned_over_measured_time": planned_seconds / statistics.median(timed.values),
        "planned_over_measured_memory": planned_gib / peak,
    }


def _plan(part: Slice, settings: GpuSuiteSettings) -> tuple[float, float]:
    """Return the seconds of a step and the peak in GiB, as torch counts it, that a plan expects."""
    assumptions = settings.planning.assumptions
    shape = {"model_type": "qwen2", "num_hidden_layers": part.num_layers, **settings.slices.shape}
    recipe = read_recipe(
        settings.training,
        settings.sharding,
        lengths=part.document_tokens,
        assumptions=assumptions,
    )
    planned = estimate(
        read_shape(shape), read_cluster(settings.cluster), recipe, assumptions=assumptions
    )
    beside = next((at.loss for at in planned.memory.parts if at.name == RUNTIME), 0.0)
    return planned.step.total, (planned.memory.peak - beside) / GIB


def _configure(part: Slice, settings: GpuSuiteSettings) -> GpuSuiteSettings:
    """Return the settings with this slice's sharding, and one step an epoch."""
    sharding = {
        "activation_checkpointing": part.activation_checkpointing,
        "compile": part.compile,
        "micro_batch_tokens": sum(part.document_tokens),
    }
    training = {
        "num_epochs": settings.slices.warm_up_steps + settings.num_pairs,
        "max_steps": None,
        "max_tokens": None,
        "global_batch_size": len(part.document_tokens),
    }
    return settings.model_copy(
        update={
            "sharding": settings.sharding.model_copy(update=sharding),
            "training": settings.training.model_copy(update=training),
        }
    )


def _take_steps(part: Slice, settings: GpuSuiteSettings) -> Iterator[tuple[StepMetrics, float]]:
    """Yield every step's metrics and its seconds, the device's last kernel included."""
    ranks = join_ranks(settings.sharding)
    with _random_state(part, settings, ranks) as state:
        steps = train(
            state,
            examples=_draw_examples(part, settings.slices),
            training=settings.training,
            sharding=settings.sharding,
            ranks=ranks,
        )
        while True:
            _synchronize(ranks.device)
            began = time.perf_counter()
            metrics = next(steps, None)
            if metrics is None:
                return
            _synchronize(ranks.device)
            yield metrics, time.perf_counter() - began


@contextmanager
def _random_state(part: Slice, settings: GpuSuiteSettings, ranks: Ranks) -> Iterator[TrainState]:
    """Yield a model that no file holds, as ``start_state`` gives one from files."""
    if ranks.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(ranks.device)
    with TemporaryDirectory(prefix="s1ray-slice-") as room:
        shape: dict[str, Any] = {**settings.slices.shape, "num_hidden_layers": part.num_layers}
        Qwen2Config(**shape).save_pretrained(room)
        causal_lm = create_causal_lm(Path(room), dtype=DTYPES["float32"])
    model = PackedLanguageModel(causal_lm, loss_chunk_tokens=settings.sharding.loss_chunk_tokens)
    shard(
        model,
        ranks=ranks,
        config=settings.sharding,
        adapter_rank=0,
        compute=settings.training.compute_dtype,
        reduce=settings.training.reduce_dtype,
    )
    materialize(model, device=ranks.device, is_offloaded=False)
    torch.manual_seed(settings.slices.seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=causal_lm.config.initializer_range)
            else:
                parameter.fill_(1.0)
    model.train()
    optimizer = build_optimizer(model, config=settings.training.optimizer)
    yield TrainState(model=model, optimizer=optimizer, samples_consumed=0, step=0)


def _draw_examples(part: Slice, config: SlicesConfig) -> list[TokenizedExample]:
    rng = random.Random(config.seed)
    vocabulary = int(config.shape["vocab_size"])
    return [
        TokenizedExample(
            key=str(index),
            input_ids=tuple(rng.randrange(vocabulary) for _ in range(tokens)),
            num_prompt_tokens=0,
            num_truncated_tokens=0,
        )
        for index, tokens in enumerate(part.document_tokens)
    ]


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
