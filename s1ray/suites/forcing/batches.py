"""Samples of mixed lengths: our engine, static batches, transformers' own continuous batching.

All three decode the same weights greedily in one process and write the same tokens.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig

from s1ray.config.suites.forcing import ForcingSettings
from s1ray.generation.engine import Request, Sampling
from s1ray.generation.transformers_engine import TransformersEngine, load_model
from s1ray.suites.forcing.chains import open_prompter
from s1ray.suites.forcing.lengths import draw_lengths
from s1ray.suites.measuring.pairs import Side, compare_pairs, measure_in_turn, time_call

Texts = list[tuple[int, ...]]


def measure_batches(settings: ForcingSettings, model_path: Path) -> dict[str, Any]:
    """Return how the three compare on the same prompts and lengths.

    Raises:
        RuntimeError: One wrote other tokens.
    """
    config = settings.batches
    model: Any = load_model(
        model_path, dtype=settings.engine.dtype, device=settings.engine.device, adapter=None
    )
    # The model's own end of a turn would fill a configuration that names none.
    model.generation_config = _configure(1)
    prompter = open_prompter(
        model_path,
        delimiters=settings.model.delimiters,
        context_tokens=settings.context_tokens,
    )
    work = _Work(
        settings=settings,
        model=model,
        prompts=prompter.write_prompts(config.num_samples),
        lengths=draw_lengths(config.lengths, count=config.num_samples, seed=settings.seed),
    )
    ways = {
        "ours": work.run_ours,
        "static": work.run_static,
        "continuous": work.run_continuous,
    }
    same = _count_same({name: way() for name, way in ways.items()})
    sides: dict[str, Side] = {name: _time(way) for name, way in ways.items()}
    spreads = measure_in_turn(sides, num_pairs=settings.num_pairs)
    return {
        "tokens": sum(work.lengths),
        "longest_tokens": max(work.lengths),
        "equal_texts": same,
        "seconds": {name: spread.describe() for name, spread in spreads.items()},
        "seconds_over_ours": {
            name: compare_pairs(spread, spreads["ours"]).describe()
            for name, spread in spreads.items()
            if name != "ours"
        },
    }


def _count_same(texts: Mapping[str, Texts]) -> dict[str, int]:
    """Return how many texts of each way equal ours; padding and paging round differently.

    Raises:
        RuntimeError: More than a tenth differ, so that it is no matter of ties.
    """
    same = {
        name: sum(mine == other for mine, other in zip(texts["ours"], found, strict=True))
        for name, found in texts.items()
    }
    if min(same.values()) < 0.9 * len(texts["ours"]):
        raise RuntimeError(f"the ways wrote different tokens; equal to ours: {same}")
    return same


def _time(way: Callable[[], Texts]) -> Side:
    return lambda: time_call(way)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """Prompts and how many tokens follow each, in the order in which they came."""

    settings: ForcingSettings
    model: Any
    """A transformers model that generates, which its type does not say."""
    prompts: Sequence[tuple[int, ...]]
    lengths: Sequence[int]

    def run_ours(self) -> Texts:
        """Our engine: a slot is filled again as soon as its sample ends."""
        return asyncio.run(self._run_ours())

    async def _run_ours(self) -> Texts:
        config = self.settings.engine
        engine = TransformersEngine(
            self.model,
            max_batch_size=self.settings.batches.batch_size,
            cache_slots=config.cache_slots,
            max_prefill_tokens=config.max_prefill_tokens,
            context_tokens=self.settings.context_tokens,
            num_threads=config.num_threads,
        )
        greedy = Sampling(temperature=0.0, top_p=1.0, top_k=0, seed=0)
        requests = [
            Request(
                token_ids=prompt,
                min_tokens=0,
                max_tokens=length,
                stop_sequences=(),
                sampling=greedy,
            )
            for prompt, length in zip(self.prompts, self.lengths, strict=True)
        ]
        made = await asyncio.gather(*map(engine.generate, requests))
        await engine.close()
        return [generation.token_ids for generation in made]

    def run_static(self) -> Texts:
        """``model.generate`` on one batch after the other; each ends with its longest sample."""
        size = self.settings.batches.batch_size
        texts: Texts = []
        for start in range(0, len(self.prompts), size):
            texts += self._run_batch(slice(start, start + size))
        return texts

    def _run_batch(self, batch: slice) -> Texts:
        prompts, lengths = self.prompts[batch], self.lengths[batch]
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        is_real = torch.tensor(
            [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        )
        with torch.inference_mode():
            made = self.model.generate(
                ids,
                attention_mask=is_real,
                generation_config=_configure(max(lengths)),
            )
        return [
            tuple(row[width : width + length].tolist())
            for row, length in zip(made, lengths, strict=True)
        ]

    def run_continuous(self) -> Texts:
        """Use transformers' own continuous batching, with its paged cache."""
        config = self.settings.batches
        paged = ContinuousBatchingConfig(
            num_blocks=config.num_blocks,
            page_size=config.block_tokens,
            max_batch_tokens=config.num_blocks,
        )
        with self.model.continuous_batching_context_manager(
            generation_config=_configure(max(self.lengths)), continuous_batching_config=paged
        ) as manager:
            names = [
                manager.add_request(list(prompt), max_new_tokens=length, eos_token_id=-1)
                for prompt, length in zip(self.prompts, self.lengths, strict=True)
            ]
            made: dict[str, tuple[int, ...]] = {}
            while len(made) < len(names):
                output = manager.get_result(timeout=1)
                if output is not None and output.is_finished():
                    made[output.request_id] = tuple(output.generated_tokens)
        return [made[name] for name in names]


def _configure(max_new_tokens: int) -> GenerationConfig:
    """Greedy, and to the end: the lengths are given."""
    return GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=None, pad_token_id=0
    )
