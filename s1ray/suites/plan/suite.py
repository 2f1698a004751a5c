"""The step time that ``jobs.plan`` predicts beside the one that training takes, on this machine.

The rates are measured on cuts of the model (``calibration``), never on the steps they predict.
A part of its own sets the plan beside what others reported.
"""

import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from s1ray.config.recipe import Recipe
from s1ray.config.suites.plan import (
    LayoutSettings,
    PlannedModelSettings,
    PlanSettings,
)
from s1ray.config.tracking import PathsConfig
from s1ray.orchestration.composing import compose_recipe, spell_paths
from s1ray.orchestration.models import prepare_model
from s1ray.orchestration.plan import read_model_config
from s1ray.planning.cluster import GIGA, Cluster, read_cluster
from s1ray.planning.estimate import estimate
from s1ray.planning.model import ModelShape, read_shape
from s1ray.planning.recipe import read_recipe
from s1ray.planning.reports import compare_reports, format_table, infer_node_gbit
from s1ray.suites.measuring.pairs import Spread
from s1ray.suites.plan.calibration import Calibration, Rates, make_example
from s1ray.suites.suite import Outcome, Part
from s1ray.training.host_memory import keep_freed_memory
from s1ray.training.loop import TrainState, start_state, train
from s1ray.training.network.sharding import join_ranks

_WARM_UP_EPOCHS = 1


def measure_model(
    settings: PlanSettings, paths: PathsConfig, chosen: PlannedModelSettings
) -> Outcome:
    """Calibrate, predict and measure in turn; the ratio is the predicted time over the measured.

    Raises:
        ValueError: The recipe or the model cannot be had.
    """
    torch.set_num_threads(settings.num_threads)
    keep_freed_memory()
    recipe = compose_recipe(
        [*chosen.overrides, *spell_paths(storage=paths.storage, cache=paths.cache)]
    )
    shape = read_shape(read_model_config(recipe))
    path, ranks = prepare_model(recipe.model, recipe.paths).path, join_ranks(recipe.sharding)
    ratios: dict[str, list[float]] = {layout: [] for layout in chosen.layouts}
    seconds: dict[str, list[float]] = {layout: [] for layout in chosen.layouts}
    rates: list[Rates] = []
    with tempfile.TemporaryDirectory() as directory:
        calibration = Calibration(
            path,
            recipe=recipe,
            settings=chosen,
            shape=shape,
            ranks=ranks,
            prompt_share=settings.prompt_share,
            directory=Path(directory),
        )
        state = start_state(path, training=recipe.training, sharding=recipe.sharding, ranks=ranks)
        for _ in range(settings.num_pairs):
            rates.append(calibration.measure())
            cluster = rates[-1].apply(read_cluster(recipe.cluster))
            for layout, step in chosen.layouts.items():
                asked = _lay_out(recipe, step, num_repeats=chosen.num_repeats)
                predicted = _predict(asked, step, shape=shape, cluster=cluster)
                taken = _take_step(state, asked, step, prompt_share=settings.prompt_share)
                seconds[layout].append(taken)
                ratios[layout].append(predicted / taken)
    return _describe(ratios, seconds=seconds, rates=rates)


def compare_reported(settings: PlanSettings, _: PathsConfig) -> Outcome:
    """Hold the plan against every outcome in ``planning.reports``; nothing is run or timed."""
    recipe = compose_recipe(settings.report_overrides)
    cluster, config = read_cluster(recipe.cluster), recipe.planning
    comparisons = compare_reports(cluster, config=config)
    agreeing = [item.report.name for item in comparisons if item.is_agreeing]
    return Outcome(
        summary=f"{len(agreeing)} of {len(comparisons)} reported outcomes agree with the plan "
        f"(arithmetic, nothing run):\n{format_table(comparisons)}",
        results={
            "agreeing": agreeing,
            "predicted": {item.report.name: item.predicted for item in comparisons},
            "reported": {item.report.name: item.reported for item in comparisons},
            "gbit_a_node_that_explains_the_time": {
                item.report.name: infer_node_gbit(cluster, item.report, config=config)
                for item in comparisons
                if item.report.node_gbit is not None
            },
        },
    )


def _lay_out(recipe: Recipe, step: LayoutSettings, *, num_repeats: int) -> Recipe:
    """Return the recipe of one step an epoch: one that warms up, and those that count."""
    changes = {
        "global_batch_size": len(step.sample_tokens),
        "num_epochs": _WARM_UP_EPOCHS + num_repeats,
        "max_seq_len": max(step.sample_tokens),
    }
    training = recipe.training.model_copy(update=changes)
    sharding = recipe.sharding.model_copy(update={"micro_batch_tokens": step.micro_batch_tokens})
    return recipe.model_copy(update={"training": training, "sharding": sharding})


def _predict(recipe: Recipe, step: LayoutSettings, *, shape: ModelShape, cluster: Cluster) -> float:
    assumptions = recipe.planning.assumptions
    asked = read_recipe(
        recipe.training, recipe.sharding, lengths=step.sample_tokens, assumptions=assumptions
    )
    return estimate(shape, cluster, asked, assumptions=assumptions).step.total


def _take_step(
    state: TrainState, recipe: Recipe, step: LayoutSettings, *, prompt_share: float
) -> float:
    """Return the middle one's seconds of several optimizer steps, after one of the same shape."""
    state.samples_consumed, state.step = 0, 0
    metrics = train(
        state,
        examples=[make_example(n, prompt_share=prompt_share) for n in step.sample_tokens],
        training=recipe.training,
        sharding=recipe.sharding,
        ranks=join_ranks(recipe.sharding),
    )
    return statistics.median([step.seconds for step in metrics][_WARM_UP_EPOCHS:])


def _describe(
    ratios: Mapping[str, list[float]], *, seconds: Mapping[str, list[float]], rates: list[Rates]
) -> Outcome:
    spreads = {layout: Spread(values=tuple(values)) for layout, values in ratios.items()}
    worst = max(abs(spread.median - 1) for spread in spreads.values())
    shown = ", ".join(f"{layout} {spread.median:.2f}" for layout, spread in spreads.items())
    flops = Spread(values=tuple(rate.flops / GIGA for rate in rates))
    memory = Spread(values=tuple(rate.memory_rate / GIGA for rate in rates))
    dispatch = Spread(values=tuple(1e6 * rate.dispatch_seconds for rate in rates))
    return Outcome(
        summary=f"planned over measured step time: {shown}; off by {worst:.0%} at most "
        f"({flops.median:.0f} GFLOP/s, {dispatch.median:.0f} us a layer, "
        f"{memory.median:.1f} GB/s)",
        results={
            "num_threads": torch.get_num_threads(),
            "predicted_over_measured": {k: spread.describe() for k, spread in spreads.items()},
            "measured_seconds": {
                layout: Spread(values=tuple(values)).describe()
                for layout, values in seconds.items()
            },
            "worst_error": worst,
            "gflops_per_second": flops.describe(),
            "dispatch_microseconds_per_layer": dispatch.describe(),
            "optimizer_gb_per_second": memory.describe(),
            # What `jobs.plan` and `jobs.train` take, to plan for this machine.
            "overrides": [
                f"cluster.peak_tflops={flops.median / 1000:.4g}",
                "cluster.efficiency_eager=1.0",
                f"cluster.device_bandwidth_gb={memory.median:.4g}",
                f"cluster.dispatch_microseconds={dispatch.median:.0f}",
            ],
        },
    )


SETTINGS = PlanSettings
PARTS: Mapping[str, Part] = {
    "tiny": lambda settings, paths: measure_model(settings, paths, settings.models.tiny),
    "smollm2": lambda settings, paths: measure_model(settings, paths, settings.models.smollm2),
    "reports": compare_reported,
}
