"""What sweeps cost and save: Tune against plain calls, ASHA against the grid, sharing against none.

Everything runs on a Ray of its own in a directory of its own, on the sweeps that the suite names.
"""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from s1ray.config.suites.sweep import SweepSettings
from s1ray.config.tracking import PathsConfig
from s1ray.evaluation.samples import SampleGroup
from s1ray.generation.budget import expand_policies
from s1ray.orchestration.answering.evaluation import describe_replica, plan_evaluation
from s1ray.orchestration.answering.questions import read_questions
from s1ray.orchestration.answering.serve import build_solver
from s1ray.orchestration.cluster.session import ray_session
from s1ray.orchestration.composing import compose_recipe, spell_paths
from s1ray.orchestration.sweeps.plan import SweepPlan, TrialPlan, prepare_sweep
from s1ray.orchestration.sweeps.progress import STOPPED
from s1ray.orchestration.sweeps.sweep import join_trials, run_sweep
from s1ray.orchestration.sweeps.trial import run_trial
from s1ray.orchestration.sweeps.tuning import tune_trials
from s1ray.records import Completion
from s1ray.suites.measuring.pairs import measure_in_turn, time_call
from s1ray.suites.suite import Outcome, Part

Completions = dict[tuple[str, str], Completion]
"""By question and policy."""


@contextmanager
def _planned(words: Sequence[str], paths: PathsConfig) -> Iterator[SweepPlan]:
    """Plan a sweep in a directory that is gone afterwards."""
    with tempfile.TemporaryDirectory() as storage:
        places = spell_paths(storage=storage, cache=paths.cache)
        overrides = [*words, *places, "tracking.mode=disabled"]
        yield prepare_sweep(compose_recipe(overrides), overrides)


def measure_overhead(settings: SweepSettings, paths: PathsConfig) -> Outcome:
    """Time a sweep whose trials have nothing left to do, on Tune and as plain calls.

    What remains is Tune's own: a process, scheduling, reports. It does not grow with a trial's
    length, so it is measured where it is all there is, and held against a trial of stated length.
    """
    with _planned(settings.overhead, paths) as plan, ray_session(plan.recipe.ray):
        run_sweep(plan)
        spreads = measure_in_turn(
            {
                "tune": lambda: time_call(lambda: tune_trials(plan)),
                "plain": lambda: time_call(lambda: _call_trials(plan)),
            },
            num_pairs=settings.num_pairs,
        )
        num_trials = len(plan.trials)
    seconds = (spreads["tune"].median - spreads["plain"].median) / num_trials
    share = seconds / settings.trial_seconds
    return Outcome(
        summary=f"Tune adds {seconds:.2f} s a trial ({num_trials} trials): {share:.1%} of "
        f"{settings.trial_seconds} s",
        results={
            "num_trials": num_trials,
            "seconds": {name: spread.describe() for name, spread in spreads.items()},
            "overhead_seconds_per_trial": seconds,
            "share_of_a_trial_of_stated_length": share,
        },
    )


def _call_trials(plan: SweepPlan) -> None:
    for trial in plan.trials:
        run_trial(trial, is_stopping=lambda: False, on_trained=lambda: None)


def measure_halving(settings: SweepSettings, paths: PathsConfig) -> Outcome:
    """Count the training tokens of the full grid and of ASHA, each from nothing.

    Raises:
        RuntimeError: ASHA's winner is not the grid's.
    """
    sides = {}
    for scheduler in ("fifo", "asha"):
        words = [*settings.halving, f"scheduler={scheduler}"]
        if scheduler == "asha":
            words += settings.asha
        with _planned(words, paths) as plan:
            run_sweep(plan)
            sides[scheduler] = join_trials(plan)["trials"]
    winners = {name: _find_winner(trials) for name, trials in sides.items()}
    if winners["asha"] != winners["fifo"]:
        raise RuntimeError(f"the grid's winner is {winners['fifo']}, ASHA's {winners['asha']}.")
    tokens = {
        name: sum(trial["training_tokens"] for trial in trials) for name, trials in sides.items()
    }
    ratio = tokens["fifo"] / tokens["asha"]
    return Outcome(
        summary=f"ASHA trains {tokens['asha']:,} tokens, the grid {tokens['fifo']:,}: "
        f"{ratio:.2f}x fewer, both choose {winners['fifo']}",
        results={
            "winner": winners["fifo"],
            "training_tokens": tokens,
            "grid_over_asha": ratio,
            "num_trials": len(sides["fifo"]),
            "stopped_early": sum(trial["state"] == STOPPED for trial in sides["asha"]),
            "losses_of_the_grid": {trial["label"]: trial["loss"] for trial in sides["fifo"]},
        },
    )


def _find_winner(trials: Sequence[Mapping[str, Any]]) -> str:
    whole = [trial for trial in trials if trial["state"] != STOPPED]
    return str(min(whole, key=lambda trial: trial["loss"])["label"])


def measure_sharing(settings: SweepSettings, paths: PathsConfig) -> Outcome:
    """Count what a space needs as one sweep, and as one independent run for every point.

    Tokens are counted on one model, the untrained one, which fills every budget; each further
    model costs both sides the same again.

    Raises:
        RuntimeError: The two sides do not answer alike.
    """
    with _planned(settings.shared, paths) as plan:
        trial, num_points = plan.trials[0], plan.num_points
        budgets = [policy.name for policy in expand_policies(trial.recipe.budget)]
        shared, shared_tokens = asyncio.run(_answer(trial, budgets))
        alone: Completions = {}
        alone_tokens = 0
        for name in budgets:
            answers, tokens = asyncio.run(_answer(trial, [name]))
            alone |= answers
            alone_tokens += tokens
        trainings = len({one.training.run.name for one in plan.trials})
    if shared != alone:
        raise RuntimeError("shared chains do not answer as independent runs do.")
    ratio = alone_tokens / shared_tokens
    return Outcome(
        summary=f"{num_points} points: {trainings} trainings instead of {num_points}, "
        f"{shared_tokens:,} tokens a model instead of {alone_tokens:,} ({ratio:.1f}x fewer)",
        results={
            "num_points": num_points,
            "trainings": {"independent": num_points, "sweep": trainings},
            "evaluations": {"independent": num_points, "sweep": len(plan.trials)},
            "decoded_tokens_a_model": {"independent": alone_tokens, "sweep": shared_tokens},
            "independent_over_sweep": ratio,
            "equal_answers": len(shared),
        },
    )


async def _answer(trial: TrialPlan, policies: Sequence[str]) -> tuple[Completions, int]:
    """Answer every question under some policies on an engine of its own; return what it decoded."""
    recipe = trial.recipe
    plan = plan_evaluation(
        recipe,
        model=trial.training.model,
        label="base",
        questions=read_questions(recipe),
        budget=recipe.budget,
    )
    solver = build_solver(describe_replica(plan))
    answers: Completions = {}

    async def solve(group: SampleGroup) -> None:
        async for name, completion in solver.solve(replace(group, policies=tuple(policies))):
            answers[(group.question.id, name)] = completion

    await asyncio.gather(*map(solve, plan.groups))
    decoded = solver.engine.counters()["decoded_tokens"]
    await solver.engine.close()
    return answers, decoded


SETTINGS = SweepSettings
PARTS: Mapping[str, Part] = {
    "overhead": measure_overhead,
    "halving": measure_halving,
    "sharing": measure_sharing,
}
