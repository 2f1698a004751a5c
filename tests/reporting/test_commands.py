import shlex
from dataclasses import replace
from pathlib import Path

import yaml

from s1ray.reporting.commands import list_commands, narrow_command
from s1ray.reporting.contents import read_contents
from s1ray.reporting.reading.read import read_run
from s1ray.reporting.reading.records import Run
from tests.reporting.fake_experiments import write_experiment
from tests.reporting.fake_runs import write_run
from tests.reporting.pages import load_report_config
from tests.reporting.points import POINT, WAITED

GRID = {"max_thinking_tokens": [0, 8], "num_waits": [2], "conditions": None, "rejection": None}
BUDGET = GRID | {"max_answer_tokens": 32}


def write(path: Path, *, command: str, **config: object) -> Run:
    run = write_run(path / "reproduce" / "r", identity={}, command=command)
    (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return read_run(run)


def test_number_is_made_by_evaluating_its_model_at_its_budget(tmp_path: Path) -> None:
    command = "python -m jobs.reproduce experiment=demo budget.num_waits=[1,2] target=base"
    run = write(tmp_path, command=command, budget=BUDGET, base_budget=BUDGET)

    capped = shlex.split(narrow_command(run, POINT, label="trained"))
    waited = shlex.split(narrow_command(run, WAITED, label="trained"))

    assert capped == [
        *("python", "-m", "jobs.evaluate", "experiment=demo", "target=trained"),
        *("budget.max_thinking_tokens=[8]", "budget.num_waits=[]"),
    ]
    assert waited[-2:] == ["budget.max_thinking_tokens=[]", "budget.num_waits=[2]"]


def test_base_model_under_a_budget_of_another_kind_needs_its_whole_run(tmp_path: Path) -> None:
    command = "python -m jobs.reproduce experiment=demo"
    other = BUDGET | {"max_answer_tokens": 8}
    run = write(tmp_path, command=command, budget=BUDGET, base_budget=other)

    assert narrow_command(run, replace(POINT, model="base"), label="base") == command
    assert narrow_command(run, POINT, label="trained") != command


def test_policy_without_a_name_on_the_command_line_needs_its_whole_run(tmp_path: Path) -> None:
    command = "python -m jobs.reproduce experiment=demo"
    run = write(tmp_path, command=command, budget=BUDGET, base_budget=BUDGET)

    asked = replace(POINT, policy="token_64")

    assert narrow_command(run, asked, label="trained") == command


def test_every_accuracy_the_comparison_and_the_page_have_a_command(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, num_items=2)
    contents = read_contents([path], labels=None, config=load_report_config())

    commands = list_commands(contents)

    assert len(commands) == len(contents.results.points) + 2
    assert commands[-2].command.startswith("python -m jobs.compare a=")
    assert commands[-1].command == f"python -m jobs.report 'runs=[{path}]'"
