"""``jobs.report``: a page of finished runs, and what other packages know to put on it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from s1ray.config.compare import BootstrapConfig
from s1ray.config.evaluation import ComparatorsConfig
from s1ray.config.recipe import Recipe
from s1ray.config.report import ReportConfig, ReportJobConfig
from s1ray.evaluation.comparators import list_comparators, list_published_points
from s1ray.evaluation.comparison import bootstrap_difference
from s1ray.evaluation.metrics import group_marks
from s1ray.evaluation.samples import Score
from s1ray.evaluation.store import SAMPLES, read_scores
from s1ray.orchestration.fine_tune.train_worker import START
from s1ray.orchestration.run_directory.events import EVENTS
from s1ray.orchestration.run_directory.runs import DESCRIPTION
from s1ray.planning.cluster import read_cluster
from s1ray.planning.estimate import SECONDS_PER_HOUR, Estimate, estimate
from s1ray.planning.model import read_shape
from s1ray.planning.recipe import read_recipe
from s1ray.reporting.html import build_report
from s1ray.reporting.reading.read import read_json, read_lines
from s1ray.reporting.reading.records import Companions, Pair, PairedEffect, Prediction, Run
from s1ray.training.fine_tune import EXPORT

REPORT = "report.html"


def prepare_report(config: ReportJobConfig) -> ReportJobConfig:
    """Check that the runs are there.

    Raises:
        ValueError: One is no run directory, or labels do not fit the runs.
    """
    for path in config.runs:
        if not (Path(path) / DESCRIPTION).is_file():
            raise ValueError(
                f"runs names {path}, which is no run directory (it has no run.json). Jobs print "
                "their directory last; runs/latest is the last pipeline run."
            )
    if config.labels is not None and len(config.labels) != len(config.runs):
        raise ValueError(
            f"labels={list(config.labels)} for {len(config.runs)} runs; give one label for each "
            "run, or labels=null."
        )
    return config


def run_report(config: ReportJobConfig) -> Path:
    """Build the page of finished runs and return its path."""
    paths = [Path(path).resolve() for path in config.runs]
    return write_page(
        paths,
        labels=config.labels,
        comparators=config.comparators,
        output=Path(config.output) if config.output else paths[0] / REPORT,
        config=config.report,
    )


def write_page(
    run_dirs: Sequence[Path],
    *,
    labels: Sequence[str] | None,
    comparators: ComparatorsConfig,
    output: Path,
    config: ReportConfig,
) -> Path:
    """Build the page of run directories with all that stands beside them, and return its path.

    Args:
        run_dirs: The first is what the others are held against.
        labels: What tells several apart; None to find it.
        comparators: What others published.
        output: The page's path.
        config: How much the page holds.
    """
    return build_report(
        run_dirs,
        labels=labels,
        companions=Companions(
            comparators=list_comparators(comparators),
            published=list_published_points(comparators),
            compare=lambda pair: compare_pair(pair, config=config.bootstrap),
            predict=predict_training,
        ),
        output=output,
        config=config,
    )


def compare_pair(pair: Pair, *, config: BootstrapConfig) -> tuple[PairedEffect, ...]:
    """Return a pair's difference on every benchmark of which both answered the same questions."""
    reference = _average_items(pair.reference_path, policy=pair.policy)
    variant = _average_items(pair.variant_path, policy=pair.policy)
    effects = []
    for benchmark in sorted(reference.keys() & variant.keys()):
        a, b = reference[benchmark], variant[benchmark]
        both = a.keys() & b.keys()
        if not both:
            continue
        difference = bootstrap_difference(
            {item: a[item] for item in both},
            {item: b[item] for item in both},
            num_resamples=config.num_resamples,
            confidence=config.confidence,
            seed=config.seed,
        )
        effects.append(
            PairedEffect(
                benchmark=benchmark,
                accuracy_reference=difference.accuracy_a,
                accuracy_variant=difference.accuracy_b,
                low=difference.low,
                high=difference.high,
                num_items=difference.num_items,
                is_resolved=difference.is_resolved,
            )
        )
    return tuple(effects)


def _average_items(path: Path, *, policy: str) -> dict[str, dict[str, float]]:
    """Return the accuracy of every question under one policy, by benchmark."""
    scores: dict[str, list[Score]] = {}
    if (path / SAMPLES).exists():
        for score in read_scores(path / SAMPLES):
            if score.task.policy == policy:
                scores.setdefault(score.task.benchmark, []).append(score)
    return {
        benchmark: {item: sum(marks) / len(marks) for item, marks in group_marks(of_one).items()}
        for benchmark, of_one in scores.items()
    }


def predict_training(run: Run) -> tuple[Prediction, ...]:
    """Return a training run's plan beside what it took, from its directory alone.

    The plan sees the run's mean sample length, and the shape of the model that it exported. Where
    the run has not got that far, or is of another version, there is nothing to compare.
    """
    start = read_json(run.path / START)
    model = read_json(run.path / EXPORT / "config.json")
    steps = {row["global_step"]: row for row in read_lines(run.path / EVENTS)}
    if not start or not model or not steps or not start["num_samples"]:
        return ()
    try:
        recipe = Recipe.model_validate(yaml.safe_load(run.config))
        plan = estimate_recipe(recipe, start=start, model=model)
    except ValueError:
        return ()
    seconds = sum(row["train/seconds"] for row in steps.values())
    tokens = sum(row["train/seconds"] * row["train/tokens_per_second"] for row in steps.values())
    whole = run.seconds.get("train")
    price = plan.dollars_per_device_hour * plan.num_devices / SECONDS_PER_HOUR
    rows = [
        ("steps, seconds", plan.training_seconds, seconds),
        ("tokens a second", plan.tokens_per_second, tokens / seconds if seconds else None),
        ("with reading and writing, seconds", plan.hours * SECONDS_PER_HOUR, whole),
    ]
    if price:
        rows.append(("dollars", plan.dollars, None if whole is None else whole * price))
    basis = f"cluster={recipe.cluster.name}"
    return tuple(
        Prediction(run=run.name, quantity=name, predicted=predicted, actual=actual, basis=basis)
        for name, predicted, actual in rows
    )


def estimate_recipe(
    recipe: Recipe, *, start: Mapping[str, Any], model: Mapping[str, object]
) -> Estimate:
    """Return the plan of a run that has begun.

    Args:
        recipe: Its configuration.
        start: Its ``start.json``.
        model: The ``config.json`` of its model.

    Raises:
        ValueError: The recipe does not fit the model or the cluster.
    """
    mean_tokens = round(start["num_tokens"] / start["num_samples"])
    return estimate(
        read_shape(model),
        read_cluster(recipe.cluster),
        read_recipe(
            recipe.training,
            recipe.sharding,
            lengths=[mean_tokens] * start["num_samples"],
            assumptions=recipe.planning.assumptions,
        ),
        assumptions=recipe.planning.assumptions,
    )
