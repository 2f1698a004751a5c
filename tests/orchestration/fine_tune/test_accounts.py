import json
from dataclasses import replace
from pathlib import Path

import pytest

from s1ray.orchestration.fine_tune.accounts import Account, read_account, sum_costs
from s1ray.planning.estimate import estimate
from tests.planning.plans import load_cluster, load_planning, own_recipe, qwen_32b

ACCOUNT = Account(
    device_hours=2.0,
    dollars=14.0,
    tokens=1000,
    energy_kwh=1.5,
    planned_device_hours=1.0,
    planned_dollars=7.0,
    planned_tokens=1000,
)


def _record(run_path: Path) -> None:
    rows = [
        {
            "global_step": 1,
            "train/num_tokens": 100,
            "train/device_hours": 0.5,
            "train/dollars": 3.5,
        },
        {
            "global_step": 2,
            "train/num_tokens": 150,
            "train/device_hours": 1.0,
            "train/dollars": 7.0,
        },
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (run_path / "events.jsonl").write_text(text, encoding="utf-8")


def test_an_account_holds_what_the_run_recorded_beside_the_plan(tmp_path: Path) -> None:
    _record(tmp_path)
    (tmp_path / "energy").mkdir()
    (tmp_path / "energy" / "rank-0.json").write_text('{"joules": 3.6e6}')
    planned = estimate(
        qwen_32b(),
        load_cluster("h100_2x8_8x400g"),
        own_recipe(),
        assumptions=load_planning().assumptions,
    )

    account = read_account(tmp_path, planned=planned)

    assert (account.device_hours, account.dollars, account.tokens) == (1.0, 7.0, 250)
    assert account.energy_kwh == 1.0
    assert account.planned_device_hours == pytest.approx(planned.hours * 16)
    assert account.planned_dollars == pytest.approx(planned.hours * 16 * 6.88)
    assert account.planned_tokens == planned.workload.num_tokens


def test_what_is_not_known_is_null_and_not_zero(tmp_path: Path) -> None:
    _record(tmp_path)

    described = read_account(tmp_path, planned=None).describe()

    assert described["energy_kwh"] is None
    assert described["dollars_planned"] is None


def test_the_runs_of_a_sweep_add_up_each_once(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path, account in zip(paths, [ACCOUNT, replace(ACCOUNT, energy_kwh=None)], strict=True):
        path.mkdir()
        (path / "cost.json").write_text(json.dumps(account.describe()), encoding="utf-8")

    whole = sum_costs([*paths, paths[0]])

    assert (whole["device_hours"], whole["dollars"], whole["tokens"]) == (4.0, 28.0, 2000)
    assert whole["dollars_planned"] == 14.0
    assert whole["energy_kwh"] is None
    assert sum_costs([]) == {}


def test_a_line_says_actual_and_planned() -> None:
    line = ACCOUNT.summarize()

    assert line == "2 device-hours (1 planned), 14 dollars (7 planned), 1,000 tokens, 1.5 kWh"
