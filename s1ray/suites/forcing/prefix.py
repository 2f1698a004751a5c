"""Chains with waits on vLLM, with its prefix cache and without: what is computed again.

It runs where vLLM is (``vllm_parts``) and knows neither Ray nor Hydra.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from s1ray.config.suites.forcing import ForcingSettings
from s1ray.generation.engine import Engine
from s1ray.generation.forcing import Chain
from s1ray.suites.forcing.chains import Prompter, drive_freely, time_drive
from s1ray.suites.forcing.lengths import Script, ScriptedEnds
from s1ray.suites.measuring.pairs import Spread, compare_pairs


async def measure_prefix(
    settings: ForcingSettings, *, prompter: Prompter, engines: Mapping[str, Engine]
) -> dict[str, Any]:
    """Return how ``cached`` and ``uncached`` compare; every pair has prompts of its own.

    Raises:
        RuntimeError: The cache changed a text.
    """
    scripted = {name: _script(settings, prompter, engine) for name, engine in engines.items()}
    seconds: dict[str, list[float]] = {name: [] for name in scripted}
    recomputed: dict[str, list[float]] = {name: [] for name in scripted}
    for pair in range(settings.num_pairs):
        texts = []
        prompts = prompter.write_prompts(
            settings.prefix.num_samples, first_number=pair * settings.prefix.num_samples,
            num_words=settings.prefix.prompt_words,
        )  # fmt: skip
        for name, engine in scripted.items():
            before = engine.counters()["prefill_tokens"]
            took, made = await time_drive(
                drive_freely, engine, _begin(settings, prompter, engine, prompts)
            )
            computed = engine.counters()["prefill_tokens"] - before
            seconds[name].append(took)
            recomputed[name].append(_count_again(settings, computed, prompts))
            texts.append(made)
        if texts[0] != texts[1]:
            raise RuntimeError("the prefix cache changed a text")
    spreads = {name: Spread(values=tuple(values)) for name, values in seconds.items()}
    ratio = compare_pairs(spreads["uncached"], spreads["cached"])
    return {
        "recomputed_tokens_per_continuation": {
            name: Spread(values=tuple(values)).describe() for name, values in recomputed.items()
        },
        "seconds": {name: spread.describe() for name, spread in spreads.items()},
        "seconds_uncached_over_cached": ratio.describe(),
    }


def _script(settings: ForcingSettings, prompter: Prompter, engine: Engine) -> Engine:
    config = settings.prefix
    script = Script(
        segments=(config.segment_tokens,) * (config.num_waits + 1),
        answer_tokens=1,
        forced_answer_tokens=1,
    )
    return ScriptedEnds(
        engine,
        scripts=dict.fromkeys(range(config.num_samples), script),
        num_wait_tokens=prompter.count_wait_tokens(),
    )


def _begin(
    settings: ForcingSettings,
    prompter: Prompter,
    engine: Engine,
    prompts: Sequence[tuple[int, ...]],
) -> list[Chain]:
    return [
        prompter.begin(
            prompt,
            engine=engine,
            sample=sample,
            cap=None,
            num_waits=settings.prefix.num_waits,
            answer_tokens=2,
        )
        for sample, prompt in enumerate(prompts)
    ]


def _count_again(
    settings: ForcingSettings, computed: float, prompts: Sequence[tuple[int, ...]]
) -> float:
    """Return the context tokens computed beyond the prompts, per continuation: waits and answer."""
    num_continuations = len(prompts) * (settings.prefix.num_waits + 1)
    return (computed - sum(map(len, prompts))) / num_continuations
