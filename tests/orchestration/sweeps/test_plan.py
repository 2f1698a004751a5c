"""A sweep on paper: what is trained, what is evaluated, and what points have in common."""

import shlex
from pathlib import Path

import pytest

from s1ray.generation.budget import expand_policies
from s1ray.orchestration.sweeps.plan import SweepPlan
from tests.orchestration.sweeps.sweeping import DATA, axes, name_options, plan_sweep


def _trainings(plan: SweepPlan) -> set[str]:
    return {trial.training.run.name for trial in plan.trials}


def test_five_sizes_by_twelve_budgets_are_five_trainings_and_five_evaluations(
    tmp_path: Path,
) -> None:
    caps = list(range(12))
    plan = plan_sweep(
        tmp_path,
        *axes(
            size="{kind: grid, setting: selection.num_questions, values: [2,3,4,5,6], only: null}",
            cap=f"{{kind: grid, setting: budget.max_thinking_tokens, values: {[[n] for n in caps]}"
            ", only: null}",
        ),
        "budget.num_waits=[]",
    )

    assert plan.num_points == 60
    assert len(plan.trials) == len(_trainings(plan)) == 5
    assert [trial.label for trial in plan.trials] == [f"size={n}" for n in (2, 3, 4, 5, 6)]
    for trial in plan.trials:
        policies = expand_policies(trial.recipe.budget)
        assert [policy.max_thinking_tokens for policy in policies] == caps
        assert len(trial.points) == 12


def test_ways_of_evaluating_one_model_share_its_training(tmp_path: Path) -> None:
    strings = (
        '{kind: grid, setting: budget.wait_strings, values: [[""], [Hmm], [Wait]], only: null}'
    )
    plan = plan_sweep(tmp_path, *axes(wait=strings))

    assert len(plan.trials) == 3
    assert len(_trainings(plan)) == 1
    assert len({trial.run.name for trial in plan.trials}) == 3


def test_a_trial_has_the_training_of_the_same_recipe_run_alone(tmp_path: Path) -> None:
    both = plan_sweep(tmp_path, *axes(data=DATA))
    alone = plan_sweep(tmp_path, *axes(data=DATA), "search.axes.data.only=more")

    assert alone.trials[0].run == both.trials[1].run
    assert alone.trials[0].training.run == both.trials[1].training.run
    assert alone.run.name != both.run.name


def test_the_command_of_a_trial_runs_it_alone(tmp_path: Path) -> None:
    odd = '{kind: grid, setting: budget.wait_strings, values: [["it\'s"], [Hmm]], only: null}'
    both = plan_sweep(tmp_path, *axes(data=DATA, wait=odd))

    for trial in both.trials:
        words = shlex.split(trial.spell_command(both.overrides))
        assert words[:3] == ["python", "-m", "jobs.sweep"]
        alone = plan_sweep(tmp_path, *words[3:])
        assert [one.run for one in alone.trials] == [trial.run]


@pytest.mark.parametrize(
    ("override", "is_same"),
    [
        ("scheduler.poll_seconds=9", True),
        ("tracking.project=other", True),
        ("training.seed=9", False),
        ("scheduler=asha", False),
        ("search.equal.by=steps", False),
    ],
)
def test_a_sweep_is_named_by_what_changes_its_results(
    tmp_path: Path, override: str, *, is_same: bool
) -> None:
    first, other = plan_sweep(tmp_path), plan_sweep(tmp_path, override)

    assert (first.run.name == other.run.name) == is_same


def test_a_stopped_sweep_may_go_on_with_other_trials_at_once(tmp_path: Path) -> None:
    first = plan_sweep(tmp_path, "scheduler=asha")
    other = plan_sweep(tmp_path, "scheduler=asha", "scheduler.max_concurrent=1")

    assert first.run.name == other.run.name


def test_trials_that_join_points_of_an_axis_are_told_apart_by_what_they_join(
    tmp_path: Path,
) -> None:
    ways = name_options(
        short=["budget.max_thinking_tokens=[4]"],
        long=["budget.max_thinking_tokens=[8]"],
        hmm=["budget.wait_strings=[Hmm]"],
    )
    plan = plan_sweep(tmp_path, *axes(way=ways))

    assert [trial.label for trial in plan.trials] == ["short+long", "hmm"]
    assert [trial.recipe.search.axes["way"].only for trial in plan.trials] == [None, "hmm"]


def test_starting_over_in_every_trial_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"checkpoint\.resume=never"):
        plan_sweep(tmp_path, "checkpoint.resume=never")


def test_choices_of_groups_are_an_axis_as_well_as_values(tmp_path: Path) -> None:
    plan = plan_sweep(
        tmp_path,
        *axes(how="{kind: grid, setting: selection, values: [random, longest], only: null}"),
        "search.equal.by=tokens",
    )

    assert [trial.recipe.selection.kind for trial in plan.trials] == ["random", "longest"]
    assert {trial.recipe.training.max_tokens for trial in plan.trials} == {20_000_000}


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        ("{kind: grid, setting: training.lr, values: [1], only: null}", "training.lr is no key"),
        (
            "{kind: grid, setting: training.seed, values: [x], only: null}",
            "point axis=x.*training.seed",
        ),
        ("{kind: options, options: {a: ['selection=nothing']}, only: null}", "axis=a.*nothing"),
        ("{kind: guess, setting: training.seed}", "search.axes.axis"),
        ("{kind: log_uniform, setting: training.seed, low: 2, high: 1, only: null}", "below high"),
    ],
)
def test_an_axis_that_makes_no_recipe_is_refused_with_its_point(
    tmp_path: Path, axis: str, words: str
) -> None:
    with pytest.raises(ValueError, match=f"(?s){words}"):
        plan_sweep(tmp_path, *axes(axis=axis))
