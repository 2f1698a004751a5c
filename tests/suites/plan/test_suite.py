"""The part of the plan suite that runs nothing."""

from pathlib import Path

from s1ray.config.suites.plan import PlanSettings
from s1ray.config.tracking import PathsConfig
from s1ray.suites.plan.suite import compare_reported
from tests.choices import read_choice

ROOT = Path(__file__).parents[3]


def test_the_readme_has_the_table_of_reported_outcomes_as_the_suite_prints_it() -> None:
    settings = PlanSettings.model_validate(read_choice("suite", "plan"))
    outcome = compare_reported(settings, PathsConfig(storage="runs", cache=None))

    told, *table = outcome.summary.splitlines()
    assert told.startswith("7 of 8 ")
    assert "\n".join(table) in (ROOT / "README.md").read_text(encoding="utf-8")
    explained = outcome.results["gbit_a_node_that_explains_the_time"]
    assert [round(rate / 10) for rate in explained.values()] == [5, 1]
