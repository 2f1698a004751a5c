"""A sweep on a real Ray: every trial, its numbers, one that fails, and what is not done twice."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
from ray.util import placement_group_table

from s1ray.evaluation.store import read_scores
from s1ray.orchestration.run_directory.events import read_events
from s1ray.orchestration.run_directory.lease import is_held_here
from s1ray.orchestration.sweeps import sweep
from s1ray.orchestration.sweeps.plan import SweepPlan
from s1ray.orchestration.sweeps.progress import FINISHED, STOPPED
from s1ray.orchestration.sweeps.sweep import run_sweep
from s1ray.orchestration.sweeps.tuning import record_stop
from s1ray.orchestration.terminal import list_begun
from tests.orchestration.sweeps.sweeping import axes, name_options, plan_sweep

pytestmark = pytest.mark.usefixtures("ray_head")
BLOCKS = name_options(good=[], bad=["training.overflow=refuse", "training.max_seq_len=16"])
WAITS = "{kind: grid, setting: budget.wait_strings, values: [[Hmm], [Wait]], only: null}"


@dataclass(frozen=True)
class Swept:
    """A sweep that was run once."""

    storage: Path
    complaint: str
    begun: tuple[Path, ...]


def _plan(storage: Path) -> SweepPlan:
    # Room for two trials at a time, which meet in their training.
    return plan_sweep(
        storage, *axes(block=BLOCKS, wait=WAITS), "sharding=cpu1", "selection.num_questions=4"
    )


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, ray_head: Path) -> Swept:
    storage = tmp_path_factory.mktemp("runs")
    with pytest.raises(RuntimeError) as failed:
        run_sweep(_plan(storage))
    return Swept(storage, str(failed.value), list_begun())


def _list_placement_groups() -> set[str]:
    return {key for key, group in placement_group_table().items() if group["state"] != "REMOVED"}


def test_failed_trials_are_reported_while_the_others_finish_and_share_their_training(
    swept: Swept,
) -> None:
    plan = _plan(swept.storage)
    assert re.search(r"(?s)2 of 4 trials failed.*Traceback.*max_seq_len", swept.complaint)
    results = json.loads((plan.run.path / "results.json").read_text(encoding="utf-8"))
    states = {trial["label"]: trial["state"] for trial in results["trials"]}
    assert states == {
        'good, wait=["Hmm"]': "finished",
        'good, wait=["Wait"]': "finished",
        'bad, wait=["Hmm"]': "failed",
        'bad, wait=["Wait"]': "failed",
    }
    trained = {path.parent.name for path in (swept.storage / "train").glob("*/manifest.json")}
    assert trained == {plan.trials[0].training.run.name}
    done = {path.parent.name for path in swept.begun if path.is_relative_to(swept.storage)}
    assert done == {"sweep", "curate", "train", "evaluate"}
    assert not _list_placement_groups()
    assert ray.available_resources()["CPU"] == ray.cluster_resources()["CPU"]


def test_results_page_events_and_samples_show_the_same_numbers(swept: Swept) -> None:
    plan = _plan(swept.storage)
    results = json.loads((plan.run.path / "results.json").read_text(encoding="utf-8"))
    trial = plan.trials[0]
    described = json.loads((trial.run.path / "run.json").read_text(encoding="utf-8"))
    samples = trial.run.path / described["steps"]["trained"] / "samples.jsonl"
    [event] = read_events(trial.run.path)
    assert set(described["seconds"]) == {"curate", "train", "trained"}
    # Whoever finds a trial finished finds its steps, too.
    manifest = trial.run.path / "manifest.json"
    assert (trial.run.path / "run.json").stat().st_mtime_ns < manifest.stat().st_mtime_ns

    for policy in ("cap_0", "cap_4", "wait_1"):
        scores = [score for score in read_scores(samples) if score.task.policy == policy]
        tokens = sum(score.num_thinking_tokens for score in scores) / len(scores)
        [point] = [
            point
            for point in results["points"]
            if (point["model"], point["policy"]) == (trial.label, policy)
        ]
        assert point["thinking_tokens"] == pytest.approx(tokens)
        assert event[f"trial/running_sums/{policy}/thinking_tokens"] == point["thinking_tokens"]
        assert event[f"trial/running_sums/{policy}/accuracy"] == point["accuracy"]
    page = (plan.run.path / "report.html").read_text(encoding="utf-8")
    assert "good, wait=" in page


def test_second_run_repeats_nothing_that_is_finished_and_writes_while_it_holds_its_run(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = _plan(swept.storage)
    finished = [trial for trial in plan.trials if trial.run.is_finished]
    before = {
        path: path.stat().st_mtime_ns for trial in finished for path in trial.run.path.iterdir()
    }

    is_held: list[bool] = []
    monkeypatch.setattr(
        sweep, "write_page", lambda *_, **__: is_held.append(is_held_here(plan.run.path))
    )

    with pytest.raises(RuntimeError, match="2 of 4"):
        run_sweep(plan)

    assert is_held == [True]
    assert len(finished) == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
def test_a_trial_that_asha_stops_stays_stopped_and_the_sweep_ends_well(tmp_path: Path) -> None:
    rates = (
        "{kind: grid, setting: training.optimizer.learning_rate, values: [0.003, 1.0e-9], "
        "only: null}"
    )
    plan = plan_sweep(
        tmp_path, *axes(rate=rates), "sharding=cpu1", "training.num_epochs=null",
        "training.max_steps=600", "scheduler=asha", "scheduler.max_concurrent=1",
        "scheduler.report_every_tokens=500", "scheduler.grace_tokens=4000",
        "scheduler.reduction_factor=2",
    )  # fmt: skip
    learns, stands = plan.trials

    path = run_sweep(plan)

    stopped = record_stop(plan, stands).read()
    assert stopped is not None
    assert stopped.tokens >= 4000
    assert learns.run.is_finished
    assert not stands.run.is_finished
    results = json.loads((path / "results.json").read_text(encoding="utf-8"))
    assert [trial["state"] for trial in results["trials"]] == [FINISHED, STOPPED]
    before = list(read_events(stands.training.run.path))
    assert run_sweep(plan) == path
    assert list(read_events(stands.training.run.path)) == before
