"""s1's batch-wide rounds against one state machine per sample, on one vLLM engine.

It runs where vLLM is (``vllm_parts``) and knows neither Ray nor Hydra.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s1ray.config.suites.forcing import ForcingSettings, ThinkingLengthsConfig
from s1ray.generation.engine import Engine
from s1ray.generation.forcing import Chain
from s1ray.records import Completion
from s1ray.suites.forcing.chains import Prompter, drive_freely, drive_in_rounds, time_drive
from s1ray.suites.forcing.lengths import Script, ScriptedEnds, draw_lengths
from s1ray.suites.measuring.pairs import Spread, compare_pairs

Drive = Callable[[Engine, Sequence[Chain]], Awaitable[list[Completion]]]
WAYS: Mapping[str, Drive] = {"rounds": drive_in_rounds, "per_sample": drive_freely}


async def measure_rounds(
    settings: ForcingSettings, *, prompter: Prompter, engine: Engine
) -> dict[str, Any]:
    """Return steps for every number of waits, and seconds for one of them, under every spread.

    Raises:
        RuntimeError: The two ways wrote different texts.
    """
    results: dict[str, Any] = {}
    for name, lengths in settings.rounds.lengths.items():
        scripts = _write_scripts(settings, lengths)
        scripted = ScriptedEnds(
            engine, scripts=scripts, num_wait_tokens=prompter.count_wait_tokens()
        )
        results[name] = {}
        for num_waits in settings.rounds.num_waits:
            run = _Comparison(settings, prompter, scripted, num_waits)
            results[name][f"waits_{num_waits}"] = await run.measure()
    return results


def _write_scripts(settings: ForcingSettings, lengths: ThinkingLengthsConfig) -> dict[int, Script]:
    config = settings.rounds
    num_segments = max(config.num_waits) + 1
    drawn = draw_lengths(lengths, count=config.num_samples * num_segments, seed=settings.seed)
    return {
        sample: Script(
            segments=tuple(drawn[sample * num_segments : (sample + 1) * num_segments]),
            answer_tokens=config.answer_tokens,
            forced_answer_tokens=config.answer_tokens,
        )
        for sample in range(config.num_samples)
    }


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Both ways with one number of waits, in turn."""

    settings: ForcingSettings
    prompter: Prompter
    engine: Engine
    num_waits: int

    async def measure(self) -> dict[str, Any]:
        is_timed = self.num_waits == self.settings.rounds.timed_waits
        seconds: dict[str, list[float]] = {name: [] for name in WAYS}
        steps: dict[str, list[float]] = {name: [] for name in WAYS}
        texts = []
        for _ in range(self.settings.num_pairs if is_timed else 1):
            for name, drive in WAYS.items():
                before = self.engine.counters()["forward_passes"]
                took, made = await time_drive(drive, self.engine, self._begin())
                seconds[name].append(took)
                steps[name].append(self.engine.counters()["forward_passes"] - before)
                texts.append(made)
        if any(made != texts[0] for made in texts):
            raise RuntimeError("rounds and per-sample chains wrote different texts")
        result = _describe("steps", steps) | {
            "tokens": sum(made.num_generated_tokens for made in texts[0])
        }
        return result | (_describe("seconds", seconds) if is_timed else {})

    def _begin(self) -> list[Chain]:
        config = self.settings.rounds
        return [
            self.prompter.begin(
                prompt,
                engine=self.engine,
                sample=sample,
                cap=None,
                num_waits=self.num_waits,
                answer_tokens=config.answer_tokens + 1,
            )
            for sample, prompt in enumerate(self.prompter.write_prompts(config.num_samples))
        ]


def _describe(unit: str, values: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    spreads = {name: Spread(values=tuple(numbers)) for name, numbers in values.items()}
    ratio = compare_pairs(spreads["rounds"], spreads["per_sample"])
    return {
        unit: {name: spread.describe() for name, spread in spreads.items()},
        f"{unit}_rounds_over_per_sample": ratio.describe(),
    }
