"""A grid of budgets on our transformers engine: each one alone, and forked from shared chains."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s1ray.config.suites.forcing import ForcingSettings
from s1ray.generation.build import build_engine
from s1ray.generation.engine import Engine
from s1ray.generation.forcing import Chain
from s1ray.generation.shared_chains import SharedChains
from s1ray.records import Completion
from s1ray.suites.forcing.chains import Prompter, drive_freely, open_prompter, time_drive
from s1ray.suites.forcing.lengths import Script, ScriptedEnds, draw_lengths
from s1ray.suites.measuring.pairs import Spread, compare_pairs

REMEMBERED_TOKENS = 1 << 30
"""Everything: what a sweep remembers is not what is measured here."""
Budget = tuple[int | None, int]
"""A cap and a number of waits."""


def measure_sweep(settings: ForcingSettings, model_path: Path) -> dict[str, Any]:
    """Return what the grid of caps takes, and the same with waits.

    Raises:
        RuntimeError: Sharing changed a record.
    """
    caps: list[Budget] = [(cap, 0) for cap in settings.sweep.caps]
    waits: list[Budget] = [(None, number) for number in settings.sweep.num_waits]
    return asyncio.run(
        _measure(settings, model_path, grids={"caps": caps, "caps_and_waits": [*caps, *waits]})
    )


async def _measure(
    settings: ForcingSettings, model_path: Path, *, grids: Mapping[str, Sequence[Budget]]
) -> dict[str, Any]:
    engine = build_engine(
        settings.engine,
        model_path=model_path,
        context_tokens=settings.context_tokens,
        adapter=None,
    )
    prompter = open_prompter(
        model_path,
        delimiters=settings.model.delimiters,
        context_tokens=settings.context_tokens,
    )
    scripted = ScriptedEnds(
        engine,
        scripts=_write_scripts(settings),
        num_wait_tokens=prompter.count_wait_tokens(),
    )
    results = {
        name: await _Grid(settings, prompter, scripted, grid).measure()
        for name, grid in grids.items()
    }
    await engine.close()
    return results


def _write_scripts(settings: ForcingSettings) -> dict[int, Script]:
    config = settings.sweep
    num_segments = max(config.num_waits) + 1
    drawn = draw_lengths(
        config.lengths, count=config.num_samples * num_segments, seed=settings.seed
    )
    scripts = {}
    for sample in range(config.num_samples):
        first, *others = drawn[sample * num_segments : (sample + 1) * num_segments]
        later = (max(1, round(length * config.continuation_share)) for length in others)
        scripts[sample] = Script(
            segments=(first, *later),
            answer_tokens=config.answer_tokens,
            forced_answer_tokens=config.forced_answer_tokens,
        )
    return scripts


@dataclass(frozen=True, slots=True)
class _Grid:
    """One grid of budgets on one engine."""

    settings: ForcingSettings
    prompter: Prompter
    engine: Engine
    budgets: Sequence[Budget]

    async def measure(self) -> dict[str, Any]:
        seconds: dict[str, list[float]] = {"alone": [], "shared": []}
        tokens = dict.fromkeys(seconds, 0)
        for _ in range(self.settings.num_pairs):
            texts: dict[str, list[Completion]] = {}
            for name, taken in seconds.items():
                # A new memory each time: the second pair must not read the first one's chains.
                engine = self._share() if name == "shared" else self.engine
                before = engine.counters()["decoded_tokens"]
                took, texts[name] = await self._time(engine, is_shared=name == "shared")
                taken.append(took)
                tokens[name] = engine.counters()["decoded_tokens"] - before
            if texts["alone"] != texts["shared"]:
                raise RuntimeError("shared chains changed a record")
        spreads = {name: Spread(values=tuple(values)) for name, values in seconds.items()}
        return {
            "num_budgets": len(self.budgets),
            "generated_tokens": tokens,
            "tokens_ratio": tokens["alone"] / tokens["shared"],
            "seconds": {name: spread.describe() for name, spread in spreads.items()},
            "seconds_ratio": compare_pairs(spreads["alone"], spreads["shared"]).describe(),
        }

    def _share(self) -> Engine:
        return SharedChains(
            self.engine, remembered_tokens=REMEMBERED_TOKENS, is_noise_positional=True
        )

    async def _time(self, engine: Engine, *, is_shared: bool) -> tuple[float, list[Completion]]:
        """Run the grid: budget after budget, as separate evaluations do, or all at once."""
        if is_shared:
            return await time_drive(drive_freely, engine, self._begin(engine, self.budgets))
        total = 0.0
        made: list[Completion] = []
        for budget in self.budgets:
            took, completions = await time_drive(
                drive_freely, engine, self._begin(engine, [budget])
            )
            total += took
            made += completions
        return total, made

    def _begin(self, engine: Engine, budgets: Sequence[Budget]) -> list[Chain]:
        config = self.settings.sweep
        return [
            self.prompter.begin(
                prompt,
                engine=engine,
                sample=sample,
                cap=cap,
                num_waits=num_waits,
                answer_tokens=config.answer_tokens + 1,
            )
            for cap, num_waits in budgets
            for sample, prompt in enumerate(self.prompter.write_prompts(config.num_samples))
        ]
