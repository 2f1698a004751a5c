"""Answers graded and written down while they come: a run's files, its grader and its judge."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from s1ray.config.recipe import Recipe
from s1ray.evaluation.evaluate import Grade, regrade
from s1ray.evaluation.samples import FailedSample, SampleGroup
from s1ray.evaluation.store import SAMPLES, UNGRADED_SAMPLES, SampleStore, read_samples
from s1ray.grading.pool import GraderPool, GradingItem
from s1ray.orchestration.answering.judge import open_judge
from s1ray.orchestration.answering.progress import EvaluationProgress
from s1ray.orchestration.run_directory.events import EventLog
from s1ray.orchestration.run_directory.runs import Run
from s1ray.orchestration.terminal import show_progress
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


@dataclass(frozen=True, slots=True, kw_only=True)
class GradingSession:
    """Where a run's answers are graded and written down while they come."""

    store: SampleStore
    aside: SampleStore
    """What could not be graded when it came."""
    events: EventLog
    grade: Grade


@contextmanager
def open_grading(run: Run, recipe: Recipe) -> Iterator[GradingSession]:
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
        yield GradingSession(store=store, aside=aside, events=events, grade=grade_with(pool))


def restore_progress(
    run: Run, session: GradingSession, *, groups: Sequence[SampleGroup]
) -> EvaluationProgress:
    """Return the progress of a run as its samples have it; events that a kill took are written."""
    progress = EvaluationProgress(groups, events=session.events)
    for sample in read_samples(run.path / SAMPLES):
        progress.restore(sample)
    return progress


async def grade_rest(
    run: Run, recipe: Recipe, session: GradingSession, *, groups: Sequence[SampleGroup], label: str
) -> None:
    """Grade what was put aside, and add it to the run's samples.

    Args:
        run: With every sample in one of the session's stores.
        recipe: Says how many are graded at once.
        session: Of the run.
        groups: Its plan.
        label: What the model is called in results.

    Raises:
        RuntimeError: Some could still not be graded; a rerun grades them, and generates nothing.
    """
    aside = (
        sample
        for sample in read_samples(run.path / UNGRADED_SAMPLES)
        if sample.task not in session.store
    )
    failed: list[FailedSample] = []
    with show_progress(f"grade {label}", total=count_samples(groups)) as bar:
        progress = restore_progress(run, session, groups=groups)
        async for outcome in regrade(
            aside,
            groups,
            grade=session.grade,
            runtime=recipe.evaluation.runtime,
            max_in_flight=recipe.count_in_flight(),
        ):
            if isinstance(outcome, FailedSample):
                failed.append(outcome)
            else:
                session.store.append(outcome)
                note = progress.restore(outcome)
                bar.advance_to(progress.num_done, note)
    refuse_ungraded(failed, num_ungraded=count_samples(session.store.missing(groups)))


def count_samples(groups: Sequence[SampleGroup]) -> int:
    """Return how many samples a plan consists of, or what is left of it."""
    return sum(len(group.policies) for group in groups)


def refuse_ungraded(failed: Sequence[FailedSample], *, num_ungraded: int) -> None:
    """Refuse to finish: an accuracy over the others alone would be theirs, not the model's.

    Raises:
        RuntimeError: Some could not be graded.
    """
    if failed:
        raise RuntimeError(
            f"{num_ungraded} answers could not be graded, the first: {failed[0].error} What was "
            "generated is kept; remove the cause and run the same command again."
        )
