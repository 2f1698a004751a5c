"""Everything one page shows, read from run directories.

It joins runs that belong together and tells the models of several experiments apart. It knows no
drawing and no page.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from s1ray.config.report import ReportConfig
from s1ray.reporting.datacard import DataCard, read_data_card, read_funnel
from s1ray.reporting.formats import format_count, format_seconds, format_time
from s1ray.reporting.headlines import Headline, build_headlines
from s1ray.reporting.read import find_strings, read_experiment, read_results, read_training
from s1ray.reporting.records import Experiment, Results, Run, TrainingStep
from s1ray.reporting.samples import Injections, SampleFile, Samples, read_samples
from s1ray.reporting.tables import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What was read for one page."""

    experiments: tuple[Experiment, ...]
    headlines: tuple[Headline, ...]
    results: Results
    """Of all experiments."""
    curves: tuple[tuple[TrainingStep, ...], ...]
    """One for each training run that recorded a loss."""
    samples: Samples
    cards: tuple[DataCard, ...]
    funnels: tuple[Table, ...]

    @property
    def title(self) -> str:
        """The run's name, or how many there are."""
        names = [experiment.head.name for experiment in self.experiments]
        return names[0] if len(names) == 1 else f"{len(names)} experiments"

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs, each once."""
        every = (run for experiment in self.experiments for run in experiment.runs)
        return tuple({run.path.resolve(): run for run in every}.values())


def read_contents(run_dirs: Sequence[Path], *, config: ReportConfig) -> Contents:
    """Return what the directories hold; what they lack stays empty.

    Raises:
        ValueError: A directory is no run directory, or one of its files is malformed.
    """
    experiments = tuple(read_experiment(path) for path in dict.fromkeys(run_dirs))
    heads = [experiment.head for experiment in experiments]
    results = [read_results(experiment) for experiment in experiments]
    # One experiment's models keep their plain names; of several, each carries its run's.
    suffixes = [f" ({head.name})" if len(heads) > 1 else "" for head in heads]
    runs = [run for experiment in experiments for run in experiment.runs]
    curated = [run.path for run in runs if run.stage == "curate"]
    cards = (
        read_data_card(
            path / "selected.jsonl", num_bins=config.length_bins, max_groups=config.max_groups
        )
        for path in curated
    )
    curves = (read_training(run) for run in runs if run.stage == "train")
    return Contents(
        experiments=experiments,
        headlines=tuple(
            headline
            for head, result in zip(heads, results, strict=True)
            for headline in build_headlines(result.points, experiment=head.name)
        ),
        results=join_results(map(name_series, results, suffixes)),
        curves=tuple(curve for curve in curves if curve),
        samples=read_all_samples(experiments, suffixes=suffixes, config=config),
        cards=tuple(card for card in cards if card),
        funnels=tuple(filter(None, (read_funnel(path / "funnel.json") for path in curated))),
    )


def read_all_samples(
    experiments: Sequence[Experiment], *, suffixes: Sequence[str], config: ReportConfig
) -> Samples:
    """Return the samples of every evaluation, each experiment's models with its suffix."""
    return read_samples(
        [
            SampleFile(path=run.path / "samples.jsonl", model=find_label(run), suffix=suffix)
            for experiment, suffix in zip(experiments, suffixes, strict=True)
            for run in experiment.select_stage("evaluate")
        ],
        injections=find_injections(run for experiment in experiments for run in experiment.runs),
        max_items=config.max_items,
        max_characters=config.max_characters,
    )


def name_series(results: Results, suffix: str) -> Results:
    """Return results whose models carry a suffix."""
    return replace(
        results,
        points=tuple(replace(point, model=point.model + suffix) for point in results.points),
        waits=tuple(replace(effect, series=effect.series + suffix) for effect in results.waits),
        scaling={series + suffix: metrics for series, metrics in results.scaling.items()},
        cost={name + suffix: value for name, value in results.cost.items()},
    )


def join_results(results: Iterable[Results]) -> Results:
    """Return the results of several experiments as one."""
    every = list(results)
    scaling: dict[str, Mapping[str, float | None]] = {}
    cost: dict[str, Any] = {}
    for one in every:
        scaling |= one.scaling
        cost |= one.cost
    return Results(
        points=tuple(point for one in every for point in one.points),
        scaling=scaling,
        waits=tuple(effect for one in every for effect in one.waits),
        cost=cost,
    )


def find_label(run: Run) -> str | None:
    """Return what results call an evaluation's model; None where the run does not tell."""
    if run.model:
        return run.model
    alone = Experiment(head=run, runs=(run,), missing=())
    models = {point.model for point in read_results(alone).points}
    return models.pop() if len(models) == 1 else None


def find_injections(runs: Iterable[Run]) -> Injections:
    """Return the strings that the runs' budgets may inject."""
    configs = {run.config for run in runs}
    waits = {text for config in configs for text in find_strings(config, "wait_strings")}
    prefixes = {text for config in configs for text in find_strings(config, "answer_prefix")}
    return Injections(
        waits=tuple(sorted(waits, key=len, reverse=True)),
        answer_prefixes=tuple(sorted(prefixes, key=len, reverse=True)),
    )


def list_facts(contents: Contents) -> list[tuple[str, str]]:
    """Return what the page's head says of the runs."""
    heads = [experiment.head for experiment in contents.experiments]
    if len(heads) > 1:
        return [(head.name, head.command or head.stage) for head in heads]
    head = heads[0]
    total = sum(head.seconds.values())
    code = f"{head.git_sha[:12]}{', with uncommitted changes' if head.is_dirty else ''}"
    facts = (
        ("Command", head.command),
        ("Started", format_time(head.started)),
        ("Time", format_seconds(total) if total else ""),
        ("Code", code if head.git_sha else ""),
        ("Machine", describe_machine(head)),
        ("Versions", ", ".join(f"{name} {text}" for name, text in head.versions.items())),
        ("Resumed from", head.resumed_from),
        ("Directory", str(head.path)),
    )
    return [(term, text) for term, text in facts if text]


def describe_machine(run: Run) -> str:
    """Return the machine that a run was started on."""
    units = {"cores": "{} cores", "memory_gib": "{} GiB memory"}
    return ", ".join(
        units.get(name, "{}").format(value) for name, value in run.machine.items() if value
    )


def list_problems(contents: Contents) -> list[str]:
    """Return what a reader must know is missing."""
    return [
        f"The step {step} of {experiment.head.name} has no run directory; the page lacks it."
        for experiment in contents.experiments
        for step in experiment.missing
    ]


def describe_samples(contents: Contents) -> str:
    """Return how many sample answers the page holds, and how they are ordered."""
    held, every = len(contents.samples.views), contents.samples.num_rows
    count = f"{format_count(held)} graded answers"
    if held < every:
        count = (
            f"{count} of {format_count(every)}, those to the first questions of each benchmark; "
            "the rest stand in samples.jsonl"
        )
    return f"{count}. In front stand answers to one question at budgets spread evenly."
