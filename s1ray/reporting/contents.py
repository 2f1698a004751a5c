"""Everything one page shows, read from run directories.

It joins runs that belong together and tells the models of several experiments apart. It knows no
drawing and no page.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from s1ray.config.report import ReportConfig
from s1ray.reporting.reading.read import find_strings, read_experiment, read_results, read_training
from s1ray.reporting.reading.records import Evaluation, Experiment, Results, Run, TrainingStep
from s1ray.reporting.reading.samples import Injections, SampleFile, Samples, read_samples
from s1ray.reporting.reading.series import (
    Names,
    find_evaluations,
    join_results,
    label_experiments,
    name_models,
    rename_results,
)
from s1ray.reporting.tables.datacard import DataCard, read_data_card, read_funnel, read_sources
from s1ray.reporting.tables.formats import format_count, format_seconds, format_time
from s1ray.reporting.tables.headlines import Headline, build_headlines
from s1ray.reporting.tables.tables import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Curation:
    """What one curation gave; None for what its directory lacks."""

    label: str
    """Its name on the page; empty where it is the only one."""
    card: DataCard | None
    sources: Table | None
    """With their licences."""
    funnel: Table | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What was read for one page."""

    experiments: tuple[Experiment, ...]
    headlines: tuple[Headline, ...]
    results: Results
    """Of all experiments."""
    evaluations: tuple[Evaluation, ...]
    """Each model's once."""
    curves: Mapping[str, tuple[TrainingStep, ...]]
    """Of each training run that recorded a loss, by its name on the page."""
    samples: Samples
    curations: tuple[Curation, ...]

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


def read_contents(
    run_dirs: Sequence[Path], *, labels: Sequence[str] | None, config: ReportConfig
) -> Contents:
    """Return what the directories hold; what they lack stays empty.

    Args:
        run_dirs: In the page's order; one named twice counts once.
        labels: What tells them apart, one each; None to find it.
        config: How much the page holds.

    Raises:
        ValueError: A directory is no run directory, one of its files is malformed, or labels do
            not fit the directories.
    """
    experiments = tuple(read_experiment(path) for path in dict.fromkeys(run_dirs))
    results = [read_results(experiment) for experiment in experiments]
    told_apart = label_experiments(experiments, given=labels)
    names = name_models(
        results, evaluations=list(map(find_evaluations, experiments)), labels=told_apart
    )
    runs = [run for experiment in experiments for run in experiment.runs]
    evaluations = list_evaluations(experiments, names)
    suffixes = told_apart if len(experiments) > 1 else ("",)
    curves = {
        label: read_training(run)
        for label, run in name_stage_runs(experiments, told_apart, stage="train").items()
    }
    return Contents(
        experiments=experiments,
        headlines=tuple(
            headline
            for label, result in zip(told_apart, results, strict=True)
            for headline in build_headlines(result.points, experiment=label)
        ),
        results=join_results(list(map(rename_results, results, names, suffixes))),
        evaluations=evaluations,
        curves={label: curve for label, curve in curves.items() if curve},
        samples=read_all_samples(evaluations, runs=runs, config=config),
        curations=read_curations(
            name_stage_runs(experiments, told_apart, stage="curate"), config=config
        ),
    )


def name_stage_runs(
    experiments: Sequence[Experiment], labels: Sequence[str], *, stage: str
) -> Mapping[str, Run]:
    """Return the distinct runs of a stage by what tells them apart.

    That is the trial or the experiment that a run is a step of, and its own name where several
    share it or it has several of the stage.

    Args:
        experiments: In the page's order.
        labels: What tells the experiments apart.
        stage: Such as train.
    """
    found: dict[Path, Run] = {}
    owners: dict[Path, list[str]] = {}
    for experiment, told in zip(experiments, labels, strict=True):
        suffix = f", {told}" if len(experiments) > 1 else ""
        parts = {f"{trial}{suffix}": part for trial, part in experiment.trials.items()}
        for label, owner in (parts or {told: experiment}).items():
            for run in owner.select_stage(stage):
                path = run.path.resolve()
                found[path] = run
                owners.setdefault(path, []).append(label)
    alone = Counter(label for names in owners.values() for label in names)
    return {
        names[0] if len(names) == alone[names[0]] == 1 else path.name: found[path]
        for path, names in owners.items()
    }


def read_curations(runs: Mapping[str, Run], *, config: ReportConfig) -> tuple[Curation, ...]:
    """Return what curate runs hold, each under its name on the page."""
    return tuple(
        Curation(
            label=label if len(runs) > 1 else "",
            card=read_data_card(
                run.path / "selected.jsonl",
                num_bins=config.length_bins,
                max_groups=config.max_groups,
            ),
            sources=read_sources(run.path / "card.json"),
            funnel=read_funnel(run.path / "funnel.json"),
        )
        for label, run in runs.items()
    )


def read_all_samples(
    evaluations: Sequence[Evaluation], *, runs: Iterable[Run], config: ReportConfig
) -> Samples:
    """Return the samples of every evaluation under its model's name on the page."""
    return read_samples(
        [SampleFile(path=one.path / "samples.jsonl", model=one.model) for one in evaluations],
        injections=find_injections(runs),
        max_items=config.max_items,
        max_characters=config.max_characters,
    )


def list_evaluations(
    experiments: Sequence[Experiment], names: Sequence[Names]
) -> tuple[Evaluation, ...]:
    """Return the evaluations of every model, those of a model that several share once."""
    found: dict[tuple[str | None, str], Evaluation] = {}
    for experiment, of_one in zip(experiments, names, strict=True):
        for trial, owner in (experiment.trials or {"": experiment}).items():
            for run in owner.select_stage("evaluate"):
                label = trial or find_label(run)
                model = of_one.get(label, label) or None
                evaluation = Evaluation(
                    experiment=owner.head, path=run.path, label=label, model=model
                )
                found.setdefault((model, run.name), evaluation)
    return tuple(found.values())


def find_label(run: Run) -> str:
    """Return what results call an evaluation's model; empty where the run does not tell."""
    if run.model:
        return run.model
    alone = Experiment(head=run, runs=(run,), missing=(), trials={})
    models = {point.model for point in read_results(alone).points}
    return models.pop() if len(models) == 1 else ""


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
