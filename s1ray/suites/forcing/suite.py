"""``suite=forcing``: rounds, prefix cache, shared chains, refilled slots, the server."""

from collections.abc import Mapping
from typing import Any

from s1ray.config.suites.forcing import ForcingSettings
from s1ray.config.tracking import PathsConfig
from s1ray.orchestration.models import prepare_model
from s1ray.suites.forcing.batches import measure_batches
from s1ray.suites.forcing.server import measure_server
from s1ray.suites.forcing.sweep import measure_sweep
from s1ray.suites.forcing.vllm_parts import find_python, measure_on_vllm
from s1ray.suites.suite import Check, Outcome, Part


def compare_rounds(settings: ForcingSettings, paths: PathsConfig) -> Outcome:
    """Compare s1's batch-wide rounds with one state machine per sample."""
    results = measure_on_vllm("rounds", settings, prepare_model(settings.model, paths).path)
    timed = f"waits_{settings.rounds.timed_waits}"
    words = [
        f"{name}: {found[timed]['steps_rounds_over_per_sample']['median']:.2f}x fewer steps, "
        f"{found[timed]['seconds_rounds_over_per_sample']['median']:.2f}x the seconds"
        for name, found in results.items()
    ]
    return Outcome(
        summary=f"per sample instead of rounds at {settings.rounds.timed_waits} waits, "
        + "; ".join(words),
        results=results,
    )


def compare_prefix(settings: ForcingSettings, paths: PathsConfig) -> Outcome:
    """Measure vLLM's prefix cache, on and off."""
    results = measure_on_vllm("prefix", settings, prepare_model(settings.model, paths).path)
    again = results["recomputed_tokens_per_continuation"]
    return Outcome(
        summary=f"a wait or answer computes {again['cached']['median']:.0f} tokens again with the "
        f"prefix cache, {again['uncached']['median']:.0f} without, "
        f"{results['seconds_uncached_over_cached']['median']:.2f}x the seconds without",
        results=results,
    )


def compare_sweeps(settings: ForcingSettings, paths: PathsConfig) -> Outcome:
    """Compare every budget alone with shared chains."""
    results = measure_sweep(settings, prepare_model(settings.model, paths).path)
    return Outcome(
        summary="shared chains, "
        + "; ".join(
            f"{name}: {found['tokens_ratio']:.2f}x fewer generated tokens, "
            f"{found['seconds_ratio']['median']:.2f}x fewer seconds"
            for name, found in results.items()
        ),
        results=results,
    )


def compare_batches(settings: ForcingSettings, paths: PathsConfig) -> Outcome:
    """Compare static batches and transformers' continuous batching with our engine."""
    results = measure_batches(settings, prepare_model(settings.model, paths).path)
    ratios = results["seconds_over_ours"]
    return Outcome(
        summary=f"our engine: {ratios['static']['median']:.2f}x static batches, "
        f"{ratios['continuous']['median']:.2f}x transformers' continuous batching",
        results=results,
    )


def compare_server(settings: ForcingSettings, _: PathsConfig) -> Outcome:
    """Measure the server's own time per request, and requests per second."""
    results = measure_server(settings)
    rates: Mapping[str, Any] = results["requests_per_second"]
    return Outcome(
        summary=f"{results['added_ms']['median']:.2f} ms added per request; requests/s "
        + ", ".join(
            f"{clients} clients {rate['server']['median']:.0f} (echo {rate['echo']['median']:.0f})"
            for clients, rate in rates.items()
        ),
        results=results,
    )


SETTINGS = ForcingSettings
PARTS: Mapping[str, Part] = {
    "rounds": compare_rounds,
    "prefix": compare_prefix,
    "sweep": compare_sweeps,
    "batches": compare_batches,
    "server": compare_server,
}


def check_vllm(settings: ForcingSettings) -> None:
    """Check that there is an interpreter with vLLM.

    Raises:
        RefusedError: There is none.
    """
    find_python(settings)


CHECKS: Mapping[str, Check] = dict.fromkeys(("rounds", "prefix"), check_vllm)
