"""What ``kill -9`` costs an evaluation: of its driver, of a replica, of its writer to W&B."""

import math
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from s1ray.config.suites.evaluation import EvaluationSettings
from s1ray.config.tracking import PathsConfig
from s1ray.evaluation.store import SAMPLES, read_samples
from s1ray.orchestration.answering.evaluation import EvaluationPlan
from s1ray.orchestration.composing import spell_paths
from s1ray.orchestration.dashboard.sink import LOCK
from s1ray.suites.evaluation.job import EvaluationJob, count_rows, open_job
from s1ray.suites.evaluation.journal import (
    BEGUN,
    FINISHED,
    count_again,
    find_replicas,
    plan_recipe,
)
from s1ray.suites.evaluation.record import is_event, read_history
from s1ray.suites.suite import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """A running evaluation, a part of which is killed."""

    plan: EvaluationPlan
    job: EvaluationJob


Choice = Callable[[_Target], int]
"""Which process is killed."""

Start = Callable[[], AbstractContextManager[EvaluationJob]]


def measure_kills(settings: EvaluationSettings, paths: PathsConfig) -> Outcome:
    """Kill each part of an evaluation once, let it end, and count what was lost, doubled, redone.

    Raises:
        RuntimeError: A kill came too late, or an evaluation did not end.
    """
    victims: dict[str, Choice] = {
        "driver": lambda target: target.job.process.pid,
        "replica": lambda target: find_replicas(target.job.journal)[0],
        "sink": lambda target: int((target.plan.run.path / LOCK).read_text(encoding="utf-8")),
    }
    counts = {name: _measure_kill(settings, paths, choose) for name, choose in victims.items()}
    told = "; ".join(
        f"{name}: {count['rows_lost']} lost, {count['rows_doubled']} doubled, "
        f"{count['rows_redone']} redone of {count['rows']}"
        for name, count in counts.items()
    )
    return Outcome(summary=told, results={"kill_at": settings.kill_at, "killed": counts})


def _measure_kill(
    settings: EvaluationSettings, paths: PathsConfig, choose: Choice
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="s1ray-kills-", ignore_cleanup_errors=True) as storage:
        overrides = [*settings.kills, *spell_paths(storage=storage, cache=paths.cache)]
        plan = plan_recipe(overrides)
        start = partial(open_job, Path(storage), overrides, wait_seconds=settings.wait_seconds)
        job, at = _run_and_kill(plan, start, choose, kill_at=settings.kill_at)
        return count_damage(plan, job.journal) | {"rows_at_kill": at}


def _run_and_kill(
    plan: EvaluationPlan, start: Start, choose: Choice, *, kill_at: float
) -> tuple[EvaluationJob, int]:
    """Return the job that ended well, and how many rows were there when the victim was killed."""
    total = sum(len(group.policies) for group in plan.groups)
    samples = plan.run.path / SAMPLES
    with start() as job:
        job.wait_for_rows(samples, math.ceil(kill_at * total))
        victim = choose(_Target(plan=plan, job=job))
        os.kill(victim, signal.SIGKILL)
        at = count_rows(samples)
        code = job.wait()
    if victim == job.process.pid:
        with start() as job:
            code = job.wait()
    if code != 0 or at == total:
        raise RuntimeError(job.explain(f"killed at {at} of {total} rows"))
    return job, at


def count_damage(plan: EvaluationPlan, journal: Path) -> dict[str, int]:
    """Return what an evaluation that was killed and has ended lost, doubled and did again."""
    asked = {group.task(name) for group in plan.groups for name in group.policies}
    stored = Counter(sample.task for sample in read_samples(plan.run.path / SAMPLES))
    sent = Counter(read_board_steps(plan.run.path))
    return {
        "rows": len(asked),
        "rows_lost": len(asked - stored.keys()),
        "rows_doubled": stored.total() - len(stored),
        "rows_redone": count_again(journal, FINISHED),
        "rows_begun_again": count_again(journal, BEGUN),
        "board_rows_lost": len(set(range(1, len(asked) + 1)) - sent.keys()),
        "board_rows_doubled": sent.total() - len(sent),
    }


def read_board_steps(run_path: Path) -> list[int]:
    """Return the steps of the events in W&B's own record, as its client reads it back."""
    # "latest-run" is a link to one of them.
    records = {path.resolve() for path in run_path.glob("wandb/*/run-*.wandb")}
    return [
        row["global_step"]
        for record in sorted(records)
        for row in read_history(record)
        if is_event(row)
    ]
