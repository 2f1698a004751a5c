"""Several experiments on one axis: what their lines are called, and their results as one.

It tells runs apart by the size of their training data where that differs, else by name, and draws
a model that all of them share once. It knows no figure and no page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml

from s1ray.reporting.reading.read import read_lines
from s1ray.reporting.reading.records import Experiment, Results
from s1ray.reporting.tables.formats import format_count

Names = Mapping[str, str]
"""What each model of one experiment is called on the page."""


def label_experiments(
    experiments: Sequence[Experiment], *, given: Sequence[str] | None
) -> tuple[str, ...]:
    """Return what tells each experiment apart from the others.

    Args:
        experiments: In the page's order.
        given: Labels to use; None for the size of the training data, with the kind of selection
            where sizes repeat, or else the runs' names.

    Raises:
        ValueError: There is not one distinct label for each experiment.
    """
    if given is not None:
        if len(set(given)) != len(experiments):
            raise ValueError(
                f"labels={list(given)} for {len(experiments)} runs: give as many labels as runs, "
                "all different, or labels=null."
            )
        return tuple(given)
    sizes = [count_traces(experiment) for experiment in experiments]
    kinds = [find_selection(experiment) for experiment in experiments]
    plain = [f"{format_count(size)} traces" for size in sizes]
    by_kind = [f"{format_count(size)} {kind}" for size, kind in zip(sizes, kinds, strict=True)]
    for labels, known in ((plain, sizes), (by_kind, [*sizes, *kinds])):
        if all(known) and len(set(labels)) == len(labels):
            return tuple(labels)
    names = tuple(experiment.head.name for experiment in experiments)
    if len(set(names)) < len(names):  # one run in two storages
        return tuple(str(experiment.head.path) for experiment in experiments)
    return names


def count_traces(experiment: Experiment) -> int:
    """Return how many traces an experiment selected to train on; 0 where it has no one number."""
    curated = experiment.select_stage("curate")
    if len(curated) != 1:
        return 0
    return sum(1 for _ in read_lines(curated[0].path / "selected.jsonl"))


def find_selection(experiment: Experiment) -> str:
    """Return the kind of an experiment's selection; empty where it does not tell."""
    config = yaml.safe_load(experiment.head.config)
    selection = config.get("selection") if isinstance(config, dict) else None
    return str(selection.get("kind") or "") if isinstance(selection, dict) else ""


def find_evaluations(experiment: Experiment) -> Mapping[str, str]:
    """Return the hash of the run in which each model of an experiment was evaluated.

    Without the name before it, which the experiment gives: it is no part of what was done.
    """
    evaluated = (run for run in experiment.select_stage("evaluate") if run.model)
    return {run.model: run.name.rpartition("-")[2] for run in evaluated}


def name_models(
    results: Sequence[Results],
    *,
    evaluations: Sequence[Mapping[str, str]],
    labels: Sequence[str],
) -> tuple[Names, ...]:
    """Return the names of each experiment's models.

    One experiment's models keep their names. Of several, a model whose evaluation is the same run
    in all of them, such as the base model's, is one series; where each has a single other model,
    that is named by the experiment's label alone.

    Args:
        results: Of each experiment.
        evaluations: Of each, from ``find_evaluations``. Equal scores of different runs are a
            coincidence; of models without a known run they are all there is to go by.
        labels: What tells them apart.
    """
    models = [list(dict.fromkeys(point.model for point in result.points)) for result in results]
    if len(results) == 1:
        return ({model: model for model in models[0]},)
    shared = {
        model
        for model in models[0]
        if len({known.get(model) for known in evaluations}) == 1
        and len({tuple(p for p in result.points if p.model == model) for result in results}) == 1
    }
    own = [[model for model in names if model not in shared] for names in models]
    is_single = all(len(names) <= 1 for names in own)
    return tuple(
        {
            model: model if model in shared else label if is_single else f"{model}, {label}"
            for model in names
        }
        for names, label in zip(models, labels, strict=True)
    )


def rename_results(results: Results, names: Names, label: str) -> Results:
    """Return results under the page's names.

    Args:
        results: Of one experiment.
        names: Of its models.
        label: What its costs are told apart by; empty where it is alone.
    """

    def rename(series: str) -> str:
        benchmark, _, model = series.partition("/")
        return f"{benchmark}/{names.get(model, model)}"

    suffix = f", {label}" if label else ""
    return Results(
        points=tuple(replace(point, model=names[point.model]) for point in results.points),
        scaling={rename(series): metrics for series, metrics in results.scaling.items()},
        waits=tuple(replace(effect, series=rename(effect.series)) for effect in results.waits),
        votes=tuple(replace(vote, series=rename(vote.series)) for vote in results.votes),
        benchmarks=results.benchmarks,
        cost={name + suffix: value for name, value in results.cost.items()},
    )


def join_results(results: Sequence[Results]) -> Results:
    """Return the results of several experiments as one; what they share stands once."""
    scaling: dict[str, Mapping[str, float | None]] = {}
    cost: dict[str, Any] = {}
    for one in results:
        scaling |= one.scaling
        cost |= one.cost
    return Results(
        points=tuple(dict.fromkeys(point for one in results for point in one.points)),
        scaling=scaling,
        waits=tuple(dict.fromkeys(effect for one in results for effect in one.waits)),
        votes=tuple(dict.fromkeys(vote for one in results for vote in one.votes)),
        benchmarks=tuple(dict.fromkeys(note for one in results for note in one.benchmarks)),
        cost=cost,
    )
