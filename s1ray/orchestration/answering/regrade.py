"""Answers that are there already, graded anew: another grader needs no model and no Ray."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from s1ray.config.recipe import Recipe
from s1ray.evaluation.evaluate import Grade, regrade
from s1ray.evaluation.samples import EvaluatedSample, FailedSample, SampleGroup
from s1ray.evaluation.store import (
    SAMPLES,
    UNGRADED_SAMPLES,
    SampleStore,
    read_samples,
    write_samples,
)
from s1ray.grading.pool import GraderPool, GradingItem
from s1ray.orchestration.answering.judge import open_judge, say_refused
from s1ray.orchestration.answering.progress import EvaluationProgress
from s1ray.orchestration.run_directory.events import EventLog
from s1ray.orchestration.run_directory.runs import Run, read_manifest
from s1ray.orchestration.stage import open_stage
from s1ray.orchestration.terminal import say, show_progress
from s1ray.records import Completion, GradedAnswer


def grade_with(pool: GraderPool) -> Grade:
    """Return what grades a group's completion in a pool."""

    async def grade(group: SampleGroup, completion: Completion) -> GradedAnswer:
        question = group.question
        item = GradingItem(
            text=completion.answer,
            gold=question.answer,
            kind=question.answer_kind,
            is_private=group.is_private,
        )
        return await pool.grade(item)

    return grade


def find_answers(run: Run) -> Path | None:
    """Return a finished run whose answers are this one's: it differs in its grading alone."""
    asked = _strip_grading(json.loads(json.dumps(run.identity)))
    for description in sorted(run.path.parent.glob("*/run.json")):
        path = description.parent
        if path == run.path or read_manifest(path) is None:
            continue
        identity = json.loads(description.read_text(encoding="utf-8"))["identity"]
        if _strip_grading(identity) == asked:
            return path
    return None


def _strip_grading(identity: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in identity.items() if name != "grading"}


def grade_anew(
    run: Run, recipe: Recipe, *, groups: Sequence[SampleGroup], answers: Path, label: str
) -> Path:
    """Grade the answers of another run as this one's, and return this one's directory.

    Args:
        run: To be done.
        recipe: Says how to grade.
        groups: The plan that both runs share.
        answers: The other run's directory.
        label: What the model is called in results.
    """
    with open_stage(run, recipe) as stage:
        say(f"  the answers are those of {answers.name}; grading them anew")
        samples = asyncio.run(_regrade_all(recipe, groups=groups, answers=answers))
        write_samples(run.path / SAMPLES, samples)
        (run.path / UNGRADED_SAMPLES).unlink(missing_ok=True)
        with (
            EventLog(run.path) as events,
            show_progress(f"grade {label}", total=len(samples)) as bar,
        ):
            progress = EvaluationProgress(groups, events=events)
            for sample in samples:
                note = progress.restore(sample)
                bar.advance_to(progress.num_done, note)
        say_refused(recipe.grading, run.path / SAMPLES)
        stage.files.append(SAMPLES)
        generation = (read_manifest(answers) or {})["summary"]
        stage.summary |= {
            "label": label, "graded_from": answers.name, "seconds": generation["seconds"],
        }  # fmt: skip
    return run.path


def _regrade(
    recipe: Recipe, samples: Iterable[EvaluatedSample], groups: Sequence[SampleGroup], grade: Grade
) -> AsyncGenerator[EvaluatedSample | FailedSample, None]:
    return regrade(
        samples,
        groups,
        grade=grade,
        runtime=recipe.evaluation.runtime,
        max_in_flight=recipe.count_in_flight(),
    )


async def _regrade_all(
    recipe: Recipe, *, groups: Sequence[SampleGroup], answers: Path
) -> list[EvaluatedSample]:
    graded, failed = list[EvaluatedSample](), list[FailedSample]()
    stored = list(read_samples(answers / SAMPLES))
    with (
        open_judge(recipe.grading.judge) as judge,
        GraderPool(recipe.grading, judge=judge) as pool,
    ):
        async for outcome in _regrade(recipe, stored, groups, grade=grade_with(pool)):
            if isinstance(outcome, FailedSample):
                failed.append(outcome)
            else:
                graded.append(outcome)
    _refuse_ungraded(failed, num_ungraded=len(stored) - len(graded))
    return graded


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where a run's answers are graded and written down while they come."""

    store: SampleStore
    aside: SampleStore
    """What could not be graded when it came."""
    events: EventLog
    grade: Grade


@contextmanager
def open_desk(run: Run, recipe: Recipe) -> Iterator[Desk]:
    """Hold a run's files, its grader and its judge while the block runs."""
    runtime, grading = recipe.evaluation.runtime, recipe.grading
    open_store = partial(
        SampleStore,
        sync_rows=runtime.sync_rows,
        sync_seconds=runtime.sync_seconds,
        clock=time.monotonic,
    )
    with (
        open_store(run.path / SAMPLES) as store,
        open_store(run.path / UNGRADED_SAMPLES) as aside,
        open_judge(grading.judge) as judge,
        GraderPool(grading, judge=judge) as pool,
        EventLog(run.path) as events,
    ):
        yield Desk(store=store, aside=aside, events=events, grade=grade_with(pool))


def restore_progress(run: Run, desk: Desk, *, groups: Sequence[SampleGroup]) -> EvaluationProgress:
    """Return the progress of a run as its samples have it; events that a kill took are written."""
    progress = EvaluationProgress(groups, events=desk.events)
    for sample in read_samples(run.path / SAMPLES):
        progress.restore(sample)
    return progress


async def grade_rest(
    run: Run, recipe: Recipe, desk: Desk, *, groups: Sequence[SampleGroup], label: str
) -> None:
    """Grade what was put aside, and add it to the run's samples.

    Args:
        run: With every sample in one of the desk's stores.
        recipe: Says how many are graded at once.
        desk: Of the run.
        groups: Its plan.
        label: What the model is called in results.

    Raises:
        RuntimeError: Some could still not be graded; a rerun grades them, and generates nothing.
    """
    aside = (
        sample
        for sample in read_samples(run.path / UNGRADED_SAMPLES)
        if sample.task not in desk.store
    )
    failed: list[FailedSample] = []
    with show_progress(f"grade {label}", total=count_samples(groups)) as bar:
        progress = restore_progress(run, desk, groups=groups)
        async for outcome in _regrade(recipe, aside, groups, grade=desk.grade):
            if isinstance(outcome, FailedSample):
                failed.append(outcome)
            else:
                desk.store.append(outcome)
                note = progress.restore(outcome)
                bar.advance_to(progress.num_done, note)
    _refuse_ungraded(failed, num_ungraded=count_samples(desk.store.missing(groups)))


def count_samples(groups: Sequence[SampleGroup]) -> int:
    """Return how many samples a plan consists of, or what is left of it."""
    return sum(len(group.policies) for group in groups)


def _refuse_ungraded(failed: Sequence[FailedSample], *, num_ungraded: int) -> None:
    """Refuse to finish: an accuracy over the others alone would be theirs, not the model's."""
    if failed:
        raise RuntimeError(
            f"{num_ungraded} answers could not be graded, the first: {failed[0].error} What was "
            "generated is kept; remove the cause and run the same command again."
        )
