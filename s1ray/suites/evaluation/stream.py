"""How soon results are seen: the first graded answer of a job, and rows on their way to W&B."""

import shutil
import tempfile
import time
from pathlib import Path

from s1ray.config.suites.evaluation import EvaluationSettings
from s1ray.config.tracking import PathsConfig
from s1ray.orchestration.composing import spell_paths
from s1ray.orchestration.dashboard.tracking import track
from s1ray.orchestration.run_directory.events import EVENTS, EventLog
from s1ray.orchestration.run_directory.runs import Run
from s1ray.suites.evaluation.job import open_job
from s1ray.suites.evaluation.journal import plan_recipe
from s1ray.suites.evaluation.record import read_history
from s1ray.suites.measuring.pairs import Spread, compare_pairs, measure_in_turn
from s1ray.suites.suite import Outcome


def measure_first_result(settings: EvaluationSettings, paths: PathsConfig) -> Outcome:
    """Compare the time to a job's first streamed result with the time to its last.

    Raises:
        RuntimeError: A job did not end well.
    """
    watched = [_watch(settings, paths) for _ in range(settings.num_pairs)]
    first, last, end = (Spread(values=tuple(column)) for column in zip(*watched, strict=True))
    ratio = compare_pairs(first, end)
    return Outcome(
        summary=f"first result after {first.median:.1f} s, last after {last.median:.1f} s, "
        f"job over after {end.median:.1f} s, ratio {ratio.median:.2f}",
        results={
            "first_seconds": first.describe(),
            "last_seconds": last.describe(),
            "end_seconds": end.describe(),
            "first_over_end": ratio.describe(),
        },
    )


def _watch(settings: EvaluationSettings, paths: PathsConfig) -> tuple[float, float, float]:
    """Return the seconds from a job's start to its first and last event, and to its end."""
    with tempfile.TemporaryDirectory(prefix="s1ray-stream-", ignore_cleanup_errors=True) as storage:
        overrides = [*settings.stream, *spell_paths(storage=storage, cache=paths.cache)]
        plan = plan_recipe(overrides)
        total = sum(len(group.policies) for group in plan.groups)
        began = time.perf_counter()
        with open_job(Path(storage), overrides, wait_seconds=settings.wait_seconds) as job:
            seen: list[float] = []
            for least in (1, total):
                job.wait_for_rows(plan.run.path / EVENTS, least)
                seen.append(time.perf_counter() - began)
            if job.wait() != 0:
                raise RuntimeError(job.explain("all its rows are there"))
            return seen[0], seen[1], time.perf_counter() - began


def measure_sink(settings: EvaluationSettings, _: PathsConfig) -> Outcome:
    """Compare rows per second into the run's own log with rows per second on to W&B's client.

    Raises:
        RuntimeError: A row was lost or doubled on the way.
    """
    storage = Path(tempfile.mkdtemp(prefix="s1ray-sink-"))
    run = Run(name="sink", stage="benchmark", path=storage, identity={})

    def write() -> float:
        (storage / EVENTS).unlink(missing_ok=True)
        began = time.perf_counter()
        with EventLog(storage) as log:
            for step in range(1, settings.num_events + 1):
                log.append(step, {"eval/accuracy": 1 / step, "eval/tokens_per_second": 1.0})
        return time.perf_counter() - began

    def forward() -> float:
        began = time.perf_counter()
        with track(run, config=settings.tracking, group="benchmark", settings={}):
            pass
        return time.perf_counter() - began

    try:
        seconds = measure_in_turn({"log": write, "sink": forward}, num_pairs=settings.num_pairs)
        [record] = storage.glob("wandb/offline-run-*/run-*.wandb")
        steps = [row["global_step"] for row in read_history(record)]
    finally:
        shutil.rmtree(storage, ignore_errors=True)
    if steps != list(range(1, settings.num_events + 1)):
        raise RuntimeError(f"of {settings.num_events} rows {len(steps)} stand in W&B's record.")
    rates = {
        name: Spread(values=tuple(settings.num_events / value for value in spread.values))
        for name, spread in seconds.items()
    }
    ratio = compare_pairs(rates["sink"], rates["log"])
    return Outcome(
        summary=f"{rates['log'].median:.0f} rows/s into the log, {rates['sink'].median:.0f} rows/s "
        f"on to W&B's client with its start and end, ratio {ratio.median:.3f}",
        results={
            "num_rows": settings.num_events,
            "rows_per_second": {name: rate.describe() for name, rate in rates.items()},
            "sink_over_log": ratio.describe(),
        },
    )
