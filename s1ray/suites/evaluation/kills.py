"""What ``kill -9`` costs an evaluation: of its driver, of a replica, of its writer to W&B."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s1ray.config.suites.evaluation import EvaluationSettings
from s1ray.evaluation.store import SAMPLES, read_samples
from s1ray.orchestration.answering.evaluation import EvaluationPlan
from s1ray.orchestration.cluster.session import ROOT
from s1ray.orchestration.dashboard.sink import LOCK
from s1ray.suites.evaluation.journal import (
    BEGUN,
    FINISHED,
    count_again,
    find_replicas,
    plan_recipe,
)
from s1ray.suites.evaluation.record import is_event, read_history
from s1ray.suites.suite import Outcome

POLL_SECONDS = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A running evaluation."""

    plan: EvaluationPlan
    driver: int
    journal: Path


Choice = Callable[[_Job], int]
"""Which process is killed."""


def measure_kills(settings: EvaluationSettings) -> Outcome:
    """Kill each part of an evaluation once, let it end, and count what was lost, doubled, redone.

    Raises:
        RuntimeError: A kill came too late, or an evaluation did not end.
    """
    victims: dict[str, Choice] = {
        "driver": lambda job: job.driver,
        "replica": lambda job: find_replicas(job.journal)[0],
        "sink": lambda job: int((job.plan.run.path / LOCK).read_text(encoding="utf-8")),
    }
    counts = {name: _measure_kill(settings, choose) for name, choose in victims.items()}
    told = "; ".join(
        f"{name}: {count['rows_lost']} lost, {count['rows_doubled']} doubled, "
        f"{count['rows_redone']} redone of {count['rows']}"
        for name, count in counts.items()
    )
    return Outcome(summary=told, results={"kill_at": settings.kill_at, "killed": counts})


def _measure_kill(settings: EvaluationSettings, choose: Choice) -> dict[str, Any]:
    storage = Path(tempfile.mkdtemp(prefix="s1ray-kills-"))
    plan = plan_recipe([*settings.kills, f"paths.storage={storage}"])
    try:
        at = _run_and_kill(plan, settings, storage, choose)
        return count_damage(plan, storage / "journal") | {"rows_at_kill": at}
    finally:
        shutil.rmtree(storage, ignore_errors=True)


def _run_and_kill(
    plan: EvaluationPlan,
    settings: EvaluationSettings,
    storage: Path,
    choose: Choice,
) -> int:
    """Return how many rows were there when the victim was killed."""
    total = sum(len(group.policies) for group in plan.groups)
    samples = plan.run.path / SAMPLES
    job = start_job(storage, settings.kills)
    deadline = time.monotonic() + settings.wait_seconds
    while (at := count_rows(samples)) < settings.kill_at * total:
        if job.poll() is not None or time.monotonic() > deadline:
            job.kill()
            raise RuntimeError(f"the evaluation stood at {at} of {total} rows when it ended.")
        time.sleep(POLL_SECONDS)
    victim = choose(_Job(plan=plan, driver=job.pid, journal=storage / "journal"))
    os.kill(victim, signal.SIGKILL)
    at = count_rows(samples)
    code = job.wait(settings.wait_seconds)
    if victim == job.pid:
        code = start_job(storage, settings.kills).wait(settings.wait_seconds)
    if code != 0 or at == total:
        raise RuntimeError(f"killed at {at} of {total} rows, the evaluation ended with {code}.")
    return at


def start_job(storage: Path, overrides: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start an evaluation that notes its work in ``storage/journal``."""
    module = "s1ray.suites.evaluation.journal"
    words = [sys.executable, "-m", module, str(storage), str(storage / "journal"), *overrides]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(words, cwd=ROOT, stdout=quiet, stderr=quiet)


def count_rows(path: Path) -> int:
    """Return how many whole rows a file has."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


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
