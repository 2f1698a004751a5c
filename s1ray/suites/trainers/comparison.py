"""Tokens per second and peak memory of the fine-tune against TRL's SFTTrainer.

All trainers take the same step one after the other, each in its own process, while the others wait:
first in float32, where losses must agree, then in the precision that is asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from s1ray.config.suites.training import TrainingSuiteSettings
from s1ray.config.tracking import PathsConfig
from s1ray.orchestration.models import prepare_model
from s1ray.suites.measuring.gate import GatedSide, open_gate
from s1ray.suites.measuring.pairs import Spread, compare_pairs, time_call
from s1ray.suites.suite import Outcome
from s1ray.suites.trainers.requests import (
    ACCUMULATED,
    PACKED,
    PADDED,
    PADDING_FREE,
    UNPACKED,
    Task,
    build_program,
    check_trl,
    set_task,
)
from s1ray.training.network.model import (
    PackedLanguageModel,
    count_flops,
    create_causal_lm,
    find_head,
)
from s1ray.training.network.sharding import DTYPES
from s1ray.training.samples.packing import count_supervised

GROUPS = ((PACKED, UNPACKED, ACCUMULATED, PADDING_FREE), (PACKED, PADDED))
"""Who takes turns with whom. Two rounds, since all five would need more than 24 GiB at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """What trainers that took turns answered, step by step, the warming up included."""

    task: Task
    answers: Mapping[str, Sequence[Mapping[str, float]]]
    warm_up_steps: int
    """At the beginning, and not timed."""
    product_seconds: Sequence[float]
    """Of one matrix product beside every step."""

    def list_tokens_per_second(self, side: str) -> Spread:
        """Return a side's speed in every step that counts."""
        steps = range(self.warm_up_steps, self.task.num_steps)
        return Spread(
            values=tuple(
                sum(len(example.input_ids) for example in self.task.list_samples(step))
                / self.answers[side][step]["seconds"]
                for step in steps
            )
        )

    def peak_gib(self, side: str) -> float:
        """Return the largest resident set of a side."""
        return max(answer["peak"] for answer in self.answers[side])

    def largest_loss_difference(self) -> float:
        """Return by how much two sides' losses of one step differ at most, in nats."""
        losses = [[answer["loss"] for answer in each] for each in self.answers.values()]
        return max(float(max(step) - min(step)) for step in zip(*losses, strict=True))


def compare_trainers(settings: TrainingSuiteSettings, paths: PathsConfig) -> Outcome:
    """Compare this house, packed and not, with TRL's three ways.

    Raises:
        RefusedError: There is no TRL of the wanted release.
        RuntimeError: The losses differ in float32, or a trainer ended.
    """
    check_trl(settings)
    model = prepare_model(settings.model, paths).path
    checks = _check_losses(settings, model)
    trainers = settings.trainers
    num_steps = trainers.warm_up_steps + settings.num_pairs
    dtype = settings.training.compute_dtype
    races = [
        _race(group, settings, model, num_steps=num_steps, compute_dtype=dtype) for group in GROUPS
    ]
    results = summarize(races, settings) | {
        "float32_check": {
            "steps": trainers.check_steps,
            "samples_a_step": trainers.check_batch_size,
            "largest_loss_difference_nats": _largest_difference(checks),
            "tokens_per_second": _list_speeds(checks),
        }
    }
    return Outcome(summary=describe(results), results=results)


def _check_losses(settings: TrainingSuiteSettings, model: Path) -> list[Race]:
    """Have every trainer take small steps in float32, and refuse to go on where losses differ."""
    trainers = settings.trainers
    small = settings.training.model_copy(update={"global_batch_size": trainers.check_batch_size})
    checked = settings.model_copy(update={"training": small})
    checks = [
        _race(group, checked, model, num_steps=trainers.check_steps, compute_dtype="float32")
        for group in GROUPS
    ]
    difference = _largest_difference(checks)
    if difference > trainers.loss_tolerance:
        raise RuntimeError(
            f"the trainers' losses differ by {difference:.1e} nats in float32, more than "
            f"suite.trainers.loss_tolerance={trainers.loss_tolerance:.0e}: they do not train the "
            "same."
        )
    return checks


def _largest_difference(races: Sequence[Race]) -> float:
    return max(race.largest_loss_difference() for race in races)


def _race(
    sides: Sequence[str],
    settings: TrainingSuiteSettings,
    model: Path,
    *,
    num_steps: int,
    compute_dtype: str,
) -> Race:
    task = set_task(settings, model, num_steps=num_steps, compute_dtype=compute_dtype)
    size, num_threads = settings.trainers.matrix_size, torch.get_num_threads()
    factor = torch.randn(size, size).to(DTYPES[compute_dtype])
    with TemporaryDirectory(prefix="s1ray-trainers-") as room:
        programs = {
            side: build_program(side, task, settings, directory=Path(room), num_threads=num_threads)
            for side in sides
        }
        start_seconds = settings.trainers.start_seconds
        with open_gate(programs, directory=Path(room), start_seconds=start_seconds) as gated:
            answers, product_seconds = _take_turns(gated, num_steps=num_steps, factor=factor)
    return Race(
        task=task,
        answers=answers,
        warm_up_steps=settings.trainers.warm_up_steps,
        product_seconds=product_seconds,
    )


def _take_turns(
    gated: Mapping[str, GatedSide], *, num_steps: int, factor: torch.Tensor
) -> tuple[Mapping[str, Sequence[Mapping[str, float]]], Sequence[float]]:
    answers: dict[str, list[Mapping[str, float]]] = {name: [] for name in gated}
    product_seconds = []
    for _ in range(num_steps):
        product_seconds.append(time_call(lambda: factor @ factor))
        for name, side in gated.items():
            answers[name].append(side.step())
    return answers, product_seconds


def _list_speeds(races: Sequence[Race]) -> dict[str, dict[str, Any]]:
    return {
        side: race.list_tokens_per_second(side).describe()
        for race in reversed(races)
        for side in race.answers
    }


def summarize(races: Sequence[Race], settings: TrainingSuiteSettings) -> dict[str, Any]:
    """Return speeds, peaks and ratios of the races of both groups."""
    first, second = races
    speeds = _list_speeds(races)
    best = max((ACCUMULATED, PADDING_FREE, PADDED), key=lambda side: speeds[side]["median"])
    against = second if best == PADDED else first
    ours, theirs = against.list_tokens_per_second(PACKED), against.list_tokens_per_second(best)
    lengths = [len(example.input_ids) for example in first.task.examples]
    return {
        "tokens_per_second": speeds,
        "peak_gib": {
            side: race.peak_gib(side) for race in reversed(races) for side in race.answers
        },
        "trl_best": best,
        "packed_over_trl_best": compare_pairs(ours, theirs).describe(),
        "packed_over_trl_padded": compare_pairs(
            second.list_tokens_per_second(PACKED), second.list_tokens_per_second(PADDED)
        ).describe(),
        "unpacked_over_trl_accumulated": compare_pairs(
            first.list_tokens_per_second(UNPACKED), first.list_tokens_per_second(ACCUMULATED)
        ).describe(),
        "share_of_product_rate": _compare_with_products(first, settings).describe(),
        "largest_loss_difference_nats": _largest_difference(races),
        "compute_dtype": first.task.training.compute_dtype,
        "mean_tokens": sum(lengths) / len(lengths),
        "longest_tokens": max(lengths),
        "samples_a_step": first.task.training.global_batch_size,
    }


def _compare_with_products(race: Race, settings: TrainingSuiteSettings) -> Spread:
    """Return the packed step's FLOPs per second over those of a square product, step by step.

    Counted is what is computed: the head at supervised positions alone, no recomputation.
    """
    causal_lm = create_causal_lm(race.task.model, dtype=torch.float32)
    flops = count_flops(PackedLanguageModel(causal_lm, loss_chunk_tokens=1))
    head = 6 * find_head(causal_lm).weight.numel()
    product = 2 * settings.trainers.matrix_size**3
    shares = []
    for step in range(race.warm_up_steps, race.task.num_steps):
        samples = race.task.list_samples(step)
        lengths = [len(example.input_ids) for example in samples]
        unscored = sum(lengths) - sum(map(count_supervised, samples))
        done = flops.of_documents(lengths) - head * unscored
        rate = done / race.answers[PACKED][step]["seconds"]
        shares.append(rate * race.product_seconds[step] / product)
    return Spread(values=tuple(shares))


def describe(results: Mapping[str, Any]) -> str:
    """Return a summary in one line."""
    speeds = results["tokens_per_second"]
    return (
        f"{results['compute_dtype']}: packed {speeds[PACKED]['median']:.0f} tokens/s, TRL "
        f"{speeds[results['trl_best']]['median']:.0f} ({results['trl_best']}) and "
        f"{speeds[PADDED]['median']:.0f} (padded batches): "
        f"{results['packed_over_trl_best']['median']:.2f} and "
        f"{results['packed_over_trl_padded']['median']:.2f} times; "
        f"{results['share_of_product_rate']['median']:.0%} of the product rate"
    )
