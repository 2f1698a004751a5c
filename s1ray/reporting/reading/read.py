"""Run directories as records: what was run, with what, and what came out.

It reads ``run.json``, ``config.yaml``, ``results.json`` and ``events.jsonl``. It knows no figure,
table or page, and not what a benchmark or a model is.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from s1ray.line_file import read_whole_lines
from s1ray.reporting.reading.records import (
    Benchmark,
    BudgetPoint,
    Experiment,
    Results,
    Run,
    TrainingStep,
    Vote,
    WaitEffect,
)

LOSS = "train/loss_nats_per_token"
LEARNING_RATE = "train/learning_rate"

RecordT = TypeVar("RecordT", Benchmark, BudgetPoint, Vote, WaitEffect)


def read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """Return a file's JSON; None where there is no file.

    Raises:
        ValueError: The file is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is not JSON: {error}. Finish or repeat the run that writes it, or remove it."
        ) from error


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSONL file; none where there is no file, a torn last line left out.

    Raises:
        ValueError: A line other than a torn last one is not a JSON object.
    """
    if not path.exists():
        return
    for number, line in enumerate(read_whole_lines(path), start=1):
        try:
            row = json.loads(line.content)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path} line {number} is not JSON: {error}. Remove it or repeat the run."
            ) from error
        if not isinstance(row, dict):
            raise ValueError(
                f"{path} line {number} is {type(row).__name__}, not an object. Remove the line."
            )
        yield row


def read_run(path: Path) -> Run:
    """Return what a run directory says of itself.

    Raises:
        ValueError: It is not a run directory.
    """
    described = read_json(path / "run.json")
    if not isinstance(described, dict) or not {"name", "stage"} <= described.keys():
        raise ValueError(
            f"{path} is not a run directory: it has no run.json with a name and a stage. Name a "
            "directory <storage>/<stage>/<run name>, such as the one a job prints last."
        )
    git = described.get("git") or {}
    config = path / "config.yaml"
    return Run(
        path=path,
        name=str(described["name"]),
        stage=str(described["stage"]),
        model=str((described.get("identity") or {}).get("label") or ""),
        command=str(described.get("command") or ""),
        started=str(described.get("started") or ""),
        git_sha=str(git.get("sha") or ""),
        is_dirty=bool(git.get("dirty")),
        versions={key: str(value) for key, value in (described.get("versions") or {}).items()},
        machine={key: str(value) for key, value in (described.get("machine") or {}).items()},
        resumed_from=str(described.get("resumed_from") or ""),
        seconds=dict(described.get("seconds") or {}),
        steps=dict(described.get("steps") or {}),
        config=config.read_text(encoding="utf-8") if config.exists() else "",
    )


def read_experiment(path: Path) -> Experiment:
    """Return a run, the runs of its steps, and theirs: a sweep's steps are trials, which have some.

    A step's path is relative to the run's own directory or to the storage that holds it.

    Raises:
        ValueError: The directory is not a run directory.
    """
    head = read_run(path)
    parts, missing = {}, []
    for step, relative in head.steps.items():
        places = (path / relative, path.resolve().parent.parent / relative)
        place = next((place for place in places if (place / "run.json").exists()), None)
        if place is None:
            missing.append(step)
        else:
            parts[step] = read_experiment(place)
    runs = (head, *(run for part in parts.values() for run in part.runs))
    return Experiment(
        head=head,
        runs=tuple({run.path.resolve(): run for run in runs}.values()),
        missing=(*missing, *(step for part in parts.values() for step in part.missing)),
        trials={step: part for step, part in parts.items() if part.head.steps},
    )


def read_results(experiment: Experiment) -> Results:
    """Return the experiment's results: its own file, or else the files of its steps together.

    Raises:
        ValueError: A point lacks a key.
    """
    own = read_json(experiment.head.path / "results.json")
    contents = [own] if own else [read_json(run.path / "results.json") for run in experiment.runs]
    points: list[BudgetPoint] = []
    waits: list[WaitEffect] = []
    votes: list[Vote] = []
    benchmarks: list[Benchmark] = []
    scaling: dict[str, Mapping[str, float | None]] = {}
    cost: dict[str, Any] = {}
    for content in filter(None, contents):
        points += [_parse(BudgetPoint, row) for row in content.get("points") or ()]
        for series, rows in (content.get("flips") or {}).items():
            waits += [_parse(WaitEffect, {"series": series, **row}) for row in rows]
        for series, rows in (content.get("votes") or {}).items():
            votes += [_parse(Vote, {"series": series, **row}) for row in rows]
        benchmarks += [_parse(Benchmark, row) for row in (content.get("benchmarks") or {}).values()]
        scaling |= content.get("scaling") or {}
        cost |= content.get("cost") or {}
    return Results(
        points=tuple(points),
        scaling=scaling,
        waits=tuple(waits),
        votes=tuple(votes),
        benchmarks=tuple(dict.fromkeys(benchmarks)),
        cost=cost,
    )


def _parse(record: type[RecordT], row: Mapping[str, Any]) -> RecordT:
    """Return a row as a record; what the record does not know is left out."""
    names = [field.name for field in fields(record)]
    absent = [name for name in names if name not in row]
    if absent:
        raise ValueError(
            f"a {record.__name__} of results.json lacks {', '.join(absent)}; it needs "
            f"{', '.join(names)} (null where not measured). Evaluate again, or add the keys."
        )
    return record(**{name: row[name] for name in names})


def read_training(run: Run) -> tuple[TrainingStep, ...]:
    """Return a training run's steps in order; of a step recorded twice, the later record."""
    steps: dict[int, TrainingStep] = {}
    for row in read_lines(run.path / "events.jsonl"):
        if row.get(LOSS) is not None:
            step, rate = int(row["global_step"]), row.get(LEARNING_RATE)
            steps[step] = TrainingStep(step=step, loss_nats=row[LOSS], learning_rate=rate)
    return tuple(steps[step] for step in sorted(steps))


def find_strings(config: str, key: str) -> tuple[str, ...]:
    """Return the distinct strings that stand under a key anywhere in a YAML configuration.

    The key may hold one string or a list of them.
    """

    def walk(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            for name, inner in node.items():
                if name == key:
                    candidates = inner if isinstance(inner, list) else [inner]
                    yield from (text for text in candidates if isinstance(text, str))
                yield from walk(inner)
        elif isinstance(node, list):
            for inner in node:
                yield from walk(inner)

    return tuple(dict.fromkeys(walk(yaml.safe_load(config))))
