"""Who screens a pool in the curation suite: Ray Data, this process, or plain ``datasets``.

All use the same rules of ``curation`` and return the same ids. They differ in who carries rows from
step to step, and in what is held in memory.
"""

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from s1ray.config.curation import OverlapDecontaminationConfig, RayScreeningConfig
from s1ray.config.pool import PoolConfig
from s1ray.config.suites.curation import SideName
from s1ray.config.tracking import RayConfig
from s1ray.curation.choice.selection import Candidate, order_longest
from s1ray.curation.curate import measure_length
from s1ray.curation.funnel import FunnelRecorder
from s1ray.curation.pool.item_file import ItemFile
from s1ray.curation.pool.items import PoolItem, ProtectedQuestion
from s1ray.curation.pool.sources import Pool
from s1ray.curation.screening.findings import PoolFindings
from s1ray.curation.screening.screening import (
    CurationRules,
    ScreeningJudges,
    judge_in_turn,
    sift_pool,
)
from s1ray.curation.screening.survey import Surveyor
from s1ray.orchestration.cluster.session import ray_session
from s1ray.orchestration.training_data.pool_survey import survey_pool
from s1ray.suites.measuring.process import time_work

Ids = tuple[str, ...]
TimedIds = tuple[Ids, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreeningTask:
    """A pool and the rules; travels to the process that screens it."""

    pool: PoolConfig
    protected: tuple[ProtectedQuestion, ...]
    decontamination: OverlapDecontaminationConfig
    rules: CurationRules
    screening: RayScreeningConfig
    ray: RayConfig
    num_selected: int
    num_processes: int


def screen_in_turn(task: ScreeningTask) -> TimedIds:
    """Screen item by item in this process."""

    def work() -> Ids:
        judges = judge_in_turn(
            Pool(task.pool), protected=task.protected, config=task.decontamination
        )
        return _sift(task, judges)

    return time_work(work)


def screen_on_ray(task: ScreeningTask) -> TimedIds:
    """Screen from surveys made by Ray Data; Ray is up before the clock starts."""

    def work() -> Ids:
        config, ngrams = task.decontamination, Surveyor(task.protected, config=plain).ngrams
        with PoolFindings(task.protected, config=config, ngrams=ngrams) as findings:
            survey_pool(
                task.pool,
                protected=task.protected,
                config=config,
                settings=task.screening,
                findings=findings,
            )
            return _sift(task, findings.judge())

    # The numbers of n-grams need no sketches of the protected questions.
    plain = task.decontamination.model_copy(update={"near_duplicates": None})
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")  # see training_data.curate
    with ray_session(task.ray):
        return time_work(work)


def _sift(task: ScreeningTask, judges: ScreeningJudges) -> Ids:
    recorder = FunnelRecorder(reject=lambda _: None)
    passed = sift_pool(Pool(task.pool), judges=judges, rules=task.rules, recorder=recorder)
    with closing(ItemFile(passed)) as items:
        return order_longest(map(_describe, items))[: task.num_selected]


def _describe(item: PoolItem) -> Candidate:
    question = item.trace.question
    return Candidate(
        id=question.id,
        source=question.source,
        domain="",
        length=measure_length(item.trace, kind="solution_or_question_words", count_tokens=len),
        is_correct=None,
    )


def screen_with_datasets(task: ScreeningTask) -> TimedIds:
    """Screen with Hugging Face ``datasets``.

    Raises:
        ImportError: The extra ``bench`` is not installed.
    """
    # An extra: whoever does not measure it need not have it.
    from s1ray.suites.curation.datasets_side import screen  # noqa: PLC0415

    logging.getLogger("datasets").setLevel(logging.ERROR)
    return time_work(partial(screen, task))


SIDES: Mapping[SideName, Callable[[ScreeningTask], TimedIds]] = {
    "ray_data": screen_on_ray,
    "in_turn": screen_in_turn,
    "datasets": screen_with_datasets,
}


def choose_work(name: SideName, task: ScreeningTask) -> Callable[[], tuple[Any, float]]:
    """Return a side's work on a task, for a process of its own."""
    return partial(SIDES[name], task)
