"""How soon results are seen: the first graded answer of a job, and rows on their way to W&B."""

import shutil
import tempfile
import time
from pathlib import Path

from s1ray.config.suites.evaluation import EvaluationSettings
from s1ray.orchestration.dashboard.tracking import track
from s1ray.orchestration.run_directory.events import EVENTS, EventLog
from s1ray.orchestration.run_directory.runs import Run
from s1ray.suites.evaluation.journal import plan_recipe
from s1ray.suites.evaluation.kills import POLL_SECONDS, count_rows, start_job
from s1ray.suites.evaluation.record import read_history
from s1ray.suites.measuring.pairs import Spread, compare_pairs, measure_in_turn
from s1ray.suites.suite import Outcome


def measure_first_result(settings: EvaluationSettings) -> Outcome:
    """Compare the time to a job's first streamed result with the time to its last.

    Raises:
        RuntimeError: A job did not end well.
    """
    watched = [_watch(settings) for _ in range(settings.num_pairs)]
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


def _watch(settings: EvaluationSettings) -> tuple[float, float, float]:
    """Return the seconds from a job's start to its first and last event, and to its end."""
    storage = Path(tempfile.mkdtemp(prefix="s1ray-stream-"))
    plan = plan_recipe([*settings.stream, f"paths.storage={storage}"])
    total = sum(len(group.policies) for group in plan.groups)
    events = plan.run.path / EVENTS
    began = time.perf_counter()
    job = start_job(storage, settings.stream)
    seen: list[float] = []
    try:
        for aim in (1, total):
            while count_rows(events) < aim:
                waited = time.perf_counter() - began
                if job.poll() is not None or waited > settings.wait_seconds:
                    raise RuntimeError(f"the evaluation ended before its row {aim} of {total}.")
                time.sleep(POLL_SECONDS)
            seen.append(time.perf_counter() - began)
        if job.wait(settings.wait_seconds) != 0:
            raise RuntimeError("the evaluation failed.")
    finally:
        job.kill()
        shutil.rmtree(storage, ignore_errors=True)
    return seen[0], seen[1], time.perf_counter() - began


def measure_sink(settings: EvaluationSettings) -> Outcome:
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
