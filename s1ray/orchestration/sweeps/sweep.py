"""``jobs.sweep``: a search space on Ray Tune, its steps done once, its numbers side by side."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s1ray.orchestration.answering.evaluate import RESULTS, show_results
from s1ray.orchestration.cluster.session import ray_session
from s1ray.orchestration.dashboard.artifacts import ERROR
from s1ray.orchestration.fine_tune.accounts import sum_costs
from s1ray.orchestration.report import REPORT, write_page
from s1ray.orchestration.run_directory.attempts import time_attempt
from s1ray.orchestration.run_directory.events import read_events
from s1ray.orchestration.run_directory.runs import (
    DESCRIPTION,
    finish_run,
    point_latest,
    update_description,
    write_json,
)
from s1ray.orchestration.stage import hold_run
from s1ray.orchestration.sweeps.board import is_for_agents, run_board_sweep
from s1ray.orchestration.sweeps.plan import SweepPlan, TrialPlan
from s1ray.orchestration.sweeps.progress import (
    FAILED,
    FINISHED,
    STOPPED,
    find_state,
    read_json,
    show_trials,
    watch_trials,
)
from s1ray.orchestration.sweeps.tuning import tune_trials
from s1ray.orchestration.terminal import note_run, say, show_header
from s1ray.orchestration.training_data.curate import CurationPlan, run_curate


def run_sweep(plan: SweepPlan) -> Path:
    """Do what is missing of a sweep, write results and report, and return its directory.

    Raises:
        RuntimeError: Trials failed; the others went on, and the results hold what they gave.
        SystemExit: SIGTERM or Ctrl-C stopped them.
    """
    if is_for_agents(plan.recipe):
        return run_board_sweep(plan)
    run, recipe = plan.run, plan.recipe
    show_header(run.stage, run.path, kept="")
    num_trainings = len({trial.training.run.name for trial in plan.trials})
    say(f"  {plan.num_points} points, {len(plan.trials)} trials, {num_trainings} trainings")
    with hold_run(run, recipe) as last_heard:
        with time_attempt(run.path, last_heard=last_heard) as clock, ray_session(recipe.ray):
            _do_trials(plan)
        _conclude(plan, seconds=clock.total_seconds)
    point_latest(run.path.parents[1], run)
    return run.path


def _do_trials(plan: SweepPlan) -> None:
    """Do what is missing of every trial; one that fails says so in its own directory."""
    for trial in plan.trials:
        (trial.run.path / ERROR).unlink(missing_ok=True)
    for curation in _curations(plan):
        run_curate(curation)
    with watch_trials(plan):
        stopped_by = tune_trials(plan)
    if stopped_by is not None:
        show_trials(plan, title="stopped; the same command goes on from here")
        raise SystemExit(128 + stopped_by)


def _curations(plan: SweepPlan) -> list[CurationPlan]:
    """Return every distinct curation, so that no two trials meet in one."""
    curations = (trial.training.curation for trial in plan.trials if not trial.run.is_finished)
    return list({one.run.name: one for one in curations if one is not None}.values())


def _conclude(plan: SweepPlan, *, seconds: float) -> None:
    """Write and show what there is; finish the sweep where every trial has ended well."""
    run, recipe = plan.run, plan.recipe
    write_json(run.path / RESULTS, join_trials(plan))
    update_description(
        run,
        steps={trial.label: os.path.relpath(trial.run.path, run.path) for trial in plan.trials},
        seconds={run.stage: round(seconds, 1)},
    )
    files = [RESULTS]
    if any(trial.run.is_finished for trial in plan.trials):
        write_page(
            [run.path],
            labels=None,
            comparators=recipe.comparators,
            output=run.path / REPORT,
            config=recipe.report,
        )
        files.append(REPORT)
        show_results(run.path)
        say(f"report: {run.path / REPORT}")
    show_trials(plan, title=f"{run.name}: {seconds:.0f} s")
    for path in _list_steps(plan):
        note_run(path)
    failures = [
        trial for trial in plan.trials if find_state(plan, trial) not in (FINISHED, STOPPED)
    ]
    if failures:
        raise RuntimeError(_explain_failures(plan, failures))
    finish_run(run, files=files, summary={"trials": len(plan.trials)})


def _list_steps(plan: SweepPlan) -> list[Path]:
    """Return the run directories of what the trials did, in processes of their own."""
    steps = [
        os.path.normpath(trial.run.path / step)
        for trial in plan.trials
        for step in (read_json(trial.run.path / DESCRIPTION).get("steps") or {}).values()
    ]
    return [Path(step) for step in dict.fromkeys(steps)]


def _explain_failures(plan: SweepPlan, failures: list[TrialPlan]) -> str:
    lines = [f"{len(failures)} of {len(plan.trials)} trials failed; the others are finished."]
    for trial in failures:
        error = trial.run.path / ERROR
        if find_state(plan, trial) == FAILED:
            lines.append(f"{trial.label} ({error}):\n{error.read_text(encoding='utf-8')}")
        else:
            lines.append(f"{trial.label}: its process died and was not begun again.")
    lines.append("The same command does the failed ones again and repeats nothing else.")
    return "\n".join(lines)


def join_trials(plan: SweepPlan) -> dict[str, Any]:
    """Return the content of the sweep's ``results.json``: its trials', each under its label."""
    parts = ("scaling", "flips", "votes")
    joined: dict[str, Any] = {"points": [], "benchmarks": {}, **{part: {} for part in parts}}
    generated = 0
    for trial in plan.trials:
        if not trial.run.is_finished:
            continue
        results = read_json(trial.run.path / RESULTS)
        joined["points"] += [
            {**point, "model": trial.label, "trial": dict(trial.labels)}
            for point in results["points"]
        ]
        for part in parts:
            joined[part] |= {
                f"{series.rsplit('/', maxsplit=1)[0]}/{trial.label}": content
                for series, content in results[part].items()
            }
        joined["benchmarks"] |= results["benchmarks"]
        generated += results["cost"]["generated_tokens"]
    joined["cost"] = {
        "generated_tokens": generated,
        "training_tokens": _count_trained(plan),
        "training": sum_costs(trial.training.run.path for trial in plan.trials),
    }
    joined["trials"] = [_describe(plan, trial) for trial in plan.trials]
    return joined


def _count_trained(plan: SweepPlan) -> int:
    paths = {trial.training.run.path for trial in plan.trials}
    return sum(int(row["train/num_tokens"]) for path in paths for row in read_events(path))


def _describe(plan: SweepPlan, trial: TrialPlan) -> Mapping[str, Any]:
    steps = list(read_events(trial.training.run.path))
    return {
        "label": trial.label,
        "axes": dict(trial.labels),
        "state": find_state(plan, trial),
        "run": trial.run.name,
        "training": trial.training.run.name,
        "num_points": len(trial.points),
        "training_steps": steps[-1]["global_step"] if steps else 0,
        "training_samples": steps[-1]["train/samples_consumed"] if steps else 0,
        "training_tokens": sum(int(row["train/num_tokens"]) for row in steps),
        "training_seconds": round(sum(row["train/seconds"] for row in steps), 1),
        "loss": steps[-1]["train/loss_nats_per_token"] if steps else None,
    }
