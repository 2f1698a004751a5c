"""Sweeps of W&B's own: described offline, created by the real client, run by the real agent."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from hydra import compose, initialize_config_dir

from s1ray.config.recipe import Recipe
from s1ray.orchestration.cluster.session import ROOT
from s1ray.orchestration.launch import CONF, parse_config
from s1ray.orchestration.sweeps.board import SWEEP, describe_sweep
from s1ray.orchestration.sweeps.plan import prepare_sweep
from s1ray.orchestration.sweeps.sweep import run_sweep
from tests.orchestration.sweeps.sweeping import DATA, axes, name_options, plan_sweep
from tests.orchestration.wandb_server import WandbServer
from tests.waiting import wait_until

CAPS = "{kind: grid, setting: budget.max_thinking_tokens, values: [[0], [4]], only: null}"
SEEDS = "{kind: grid, setting: training.seed, values: [1, 2], only: null}"
NAMES = name_options(**{"8-sums": ["training.seed=8"], "two words": []})


def _render(command: list[str], values: dict[str, Any]) -> list[str]:
    """Return the command's overrides as W&B's agent spells them."""
    words = command[command.index("jobs.sweep") + 1 : -1]
    return [*words, *(f"{name}={value}" for name, value in values.items())]


def test_sweep_is_written_offline_and_its_budgets_stay_inside_each_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    plan = plan_sweep(tmp_path, *axes(data=DATA, cap=CAPS), "tracking.mode=wandb_sweep")

    path = run_sweep(plan)

    content = yaml.safe_load((path / SWEEP).read_text(encoding="utf-8"))
    assert content["method"] == "grid"
    assert content["parameters"] == {"search.axes.data.only": {"values": ["few", "more"]}}
    assert content["command"][:4] == ["${env}", "python", "-m", "jobs.sweep"]
    assert "tracking.mode=wandb_sweep" not in content["command"]
    assert not (tmp_path / "train").exists()


def test_every_combination_comes_back_as_the_trial_it_stands_for(tmp_path: Path) -> None:
    plan = plan_sweep(
        tmp_path, *axes(name=NAMES, seed_=SEEDS.replace("training.seed", "evaluation.seed"))
    )
    description = describe_sweep(plan)
    columns = [[(key, value) for value in content["values"]]
               for key, content in description["parameters"].items()]  # fmt: skip

    found = []
    for first in columns[0]:
        for second in columns[1]:
            words = _render(description["command"], dict([first, second]))
            with initialize_config_dir(str(CONF), version_base="1.3"):
                recipe = parse_config(compose("recipe", overrides=words), Recipe)
            [trial] = prepare_sweep(recipe, words).trials
            found.append(trial.run.name)

    assert found == [trial.run.name for trial in plan.trials]


def test_drawn_axes_are_left_to_wandb_to_draw(tmp_path: Path) -> None:
    rate = (
        "{kind: log_uniform, setting: training.optimizer.learning_rate, "
        "low: 1e-6, high: 1e-3, only: null}"
    )
    description = describe_sweep(plan_sweep(tmp_path, *axes(rate=rate), "search.draws=3"))

    assert description["method"] == "random"
    assert description["parameters"] == {
        "search.axes.rate.only": {"distribution": "log_uniform_values", "min": 1e-6, "max": 1e-3}
    }


@pytest.mark.filterwarnings("ignore:Read the `app_url`:DeprecationWarning")  # of wandb itself
def test_sweep_is_created_where_the_server_can_be_reached(
    tmp_path: Path, server: WandbServer
) -> None:
    plan = plan_sweep(
        tmp_path, *axes(data=DATA), "tracking.mode=wandb_sweep", "tracking.entity=lab"
    )

    path = run_sweep(plan)

    [config] = server.sweeps.configs.values()
    assert (
        config["command"] == yaml.safe_load((path / SWEEP).read_text(encoding="utf-8"))["command"]
    )
    assert list(server.sweeps.runs.values()) == [
        {"search.axes.data.only": "few"}, {"search.axes.data.only": "more"},
    ]  # fmt: skip


def _start_agent(server: WandbServer, sweep: str, home: Path) -> "subprocess.Popen[bytes]":
    binaries = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "WANDB_DIR": str(home),
        "WANDB_BASE_URL": server.url,
        "RAY_TMPDIR": str(home),
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    }
    environment.pop("RAY_ADDRESS", None)
    command = [str(binaries / "wandb"), "agent", f"lab/s1ray/{sweep}"]
    with (home / "agent.log").open("ab") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)


def _kill_tree(agent: "subprocess.Popen[bytes]") -> None:
    for process in [*psutil.Process(agent.pid).children(recursive=True), psutil.Process(agent.pid)]:
        process.kill()
    agent.wait(60)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore:Read the `app_url`:DeprecationWarning")
def test_real_agent_runs_every_trial_and_a_restarted_one_resumes_the_same_run(
    tmp_path: Path, server: WandbServer, home: Path
) -> None:
    plan = plan_sweep(
        tmp_path / "runs", *axes(data=DATA), "tracking.mode=wandb_sweep", "tracking.entity=lab",
        "sharding=cpu1", "ray.num_cpus=2",
    )  # fmt: skip
    run_sweep(plan)
    [sweep], (first, second) = server.sweeps.configs, server.sweeps.runs

    agent = _start_agent(server, sweep, home)
    log = home / "agent.log"
    wait_until(lambda: first in server.runs, seconds=500, process=agent, log=log)
    _kill_tree(agent)
    agent = _start_agent(server, sweep, home)
    code = agent.wait(900)

    assert code == 0, shlex.quote(log.read_text(encoding="utf-8")[-3000:])
    trials = {trial.label: trial for trial in plan.trials}
    for run, label in ((first, "few"), (second, "more")):
        steps = [row["_step"] for row in server.history[run]]
        assert steps == sorted(set(steps))
        [row] = [row for row in server.history[run] if "trial/best_accuracy" in row]
        assert row["trial/running_sums/cap_4/thinking_tokens"] == 4.0
        assert server.runs[run]["sweep"] == sweep
        assert server.runs[run]["groupName"] == plan.run.name
        assert trials[label].run.is_finished
        assert trials[label].training.run.name in server.runs
        assert "sweep" not in server.runs[trials[label].training.run.name]
