"""Answers that are there already, graded anew: another grader needs no model and no Ray."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from s1ray.config.recipe import Recipe
from s1ray.evaluation.evaluate import regrade
from s1ray.evaluation.samples import EvaluatedSample, FailedSample, SampleGroup
from s1ray.evaluation.store import SAMPLES, UNGRADED_SAMPLES, read_samples, write_samples
from s1ray.grading.pool import GraderPool
from s1ray.orchestration.answering.grading_session import grade_with, refuse_ungraded
from s1ray.orchestration.answering.judge import open_judge, say_refused
from s1ray.orchestration.answering.progress import EvaluationProgress
from s1ray.orchestration.run_directory.events import EventLog
from s1ray.orchestration.run_directory.runs import DESCRIPTION, Run, read_manifest, read_summary
from s1ray.orchestration.stage import open_stage
from s1ray.orchestration.terminal import say, show_progress


def find_answers(run: Run) -> Path | None:
    """Return a finished run whose answers are this one's: it differs in its grading alone."""
    asked = _strip_grading(json.loads(json.dumps(run.identity)))
    for description in sorted(run.path.parent.glob(f"*/{DESCRIPTION}")):
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
    seconds = read_summary(answers)["seconds"]
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
        stage.summary |= {
            "label": label, "graded_from": answers.name, "seconds": seconds,
        }  # fmt: skip
    return run.path


async def _regrade_all(
    recipe: Recipe, *, groups: Sequence[SampleGroup], answers: Path
) -> list[EvaluatedSample]:
    graded, failed = list[EvaluatedSample](), list[FailedSample]()
    stored = list(read_samples(answers / SAMPLES))
    with (
        open_judge(recipe.grading.judge) as judge,
        GraderPool(recipe.grading, judge=judge) as pool,
    ):
        async for outcome in regrade(
            stored,
            groups,
            grade=grade_with(pool),
            runtime=recipe.evaluation.runtime,
            max_in_flight=recipe.count_in_flight(),
        ):
            if isinstance(outcome, FailedSample):
                failed.append(outcome)
            else:
                graded.append(outcome)
    refuse_ungraded(failed, num_ungraded=len(stored) - len(graded))
    return graded
