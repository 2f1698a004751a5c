import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from s1ray.reporting.reading.read import read_experiment
from s1ray.reporting.reading.records import BudgetPoint, WaitEffect
from s1ray.reporting.tables.cost_tables import build_cost_table, build_time_table
from s1ray.reporting.tables.formats import (
    format_difference,
    format_percent_error,
    format_seconds,
    format_significant,
    format_time,
)
from s1ray.reporting.tables.headlines import build_headlines, build_headlines_table, select_budgets
from s1ray.reporting.tables.tables import (
    build_budgets_table,
    build_comparators_table,
    build_scaling_table,
    build_waits_table,
    render_terminal,
)
from tests.reporting.fake_experiments import write_experiment
from tests.reporting.points import POINT, WAITED, Published

PM = "\u202f\u00b1\u202f"


def scored(policy: str, *, model: str, accuracy: float) -> BudgetPoint:
    cap = None if policy == "natural" else int(policy.removeprefix("cap_"))
    return replace(POINT, policy=policy, max_thinking_tokens=cap, model=model, accuracy=accuracy)


def test_budgets_table_orders_caps_natural_end_and_waits_by_model() -> None:
    points = [
        WAITED,
        scored("natural", model="trained", accuracy=0.6),
        scored("cap_16", model="trained", accuracy=0.5),
        scored("cap_8", model="trained", accuracy=0.4),
        scored("cap_8", model="base", accuracy=0.1),
        replace(POINT, benchmark="other"),
    ]

    base, trained = build_budgets_table(points, benchmark="sums").groups

    assert [row[0] for row in base] == ["cap_8"]
    assert [row[0] for row in trained] == ["cap_8", "cap_16", "natural", "wait_2"]
    assert base[0] == (
        "cap_8",
        "base",
        f"10.0{PM}5.0",
        "7.5",
        "100",
        "8",
        "0",
        "100.0",
        "100.0",
        "50.0",
    )


def test_other_methods_follow_and_are_no_budgets() -> None:
    names = ("reject_8", "class_short", "token_8", "cap_8", "token_8_forced")
    points = [replace(POINT, policy=name) for name in names]

    (rows,) = build_budgets_table(points, benchmark="sums").groups

    assert [row[0] for row in rows] == [
        "cap_8",
        "token_8",
        "token_8_forced",
        "class_short",
        "reject_8",
    ]
    assert [point.policy for point in select_budgets(points, "trained")] == ["cap_8"]


def test_unscored_point_shows_dashes_and_no_number() -> None:
    bare = replace(POINT, accuracy=None, stderr=None, answered=None, control=None)

    ((row,),) = build_budgets_table([bare], benchmark="sums").groups

    assert (row[2], row[7], row[8]) == ("\u2013", "\u2013", "\u2013")


def test_terminal_shows_the_pages_rows_literally() -> None:
    table = build_budgets_table([replace(POINT, model="[red]x[/red]")], benchmark="sums")
    screen = io.StringIO()

    Console(file=screen, width=160, color_system=None).print(render_terminal(table))

    lines = screen.getvalue().split("\n")
    (line,) = [line for line in lines if "cap_8" in line]
    assert "[red]x[/red]" in line
    assert f"50.0{PM}5.0" in line


def test_terminal_of_eighty_columns_cuts_nothing() -> None:
    points = [WAITED, replace(POINT, policy="cap_16000", max_thinking_tokens=16000)]
    points = [replace(point, thinking_tokens=12345.6, num_samples=1319) for point in points]
    table = build_budgets_table(points, benchmark="sums")
    screen = io.StringIO()

    Console(file=screen, width=80, color_system=None).print(render_terminal(table))

    text = screen.getvalue()
    assert "\u2026" not in text
    assert all(len(line) <= 80 for line in text.split("\n"))
    for cell in table.groups[0][0]:
        assert cell in text
    for column in table.columns:
        assert all(word in text for word in column.title.split(" "))


def test_scaling_table_keeps_missing_metrics_apart_from_zero() -> None:
    table = build_scaling_table(
        {"sums/base": {"control": 1, "scaling": -23.77, "performance": None}}
    )

    assert table.groups == ((("sums, base", "100.0", "\u221223.8", "\u2013"),),)


def test_waits_table_signs_the_net_change() -> None:
    effect = WaitEffect(
        series="sums/trained",
        before="natural",
        after="wait_1",
        num_pairs=50,
        right_to_wrong=4,
        wrong_to_right=7,
    )

    table = build_waits_table([effect, replace(effect, right_to_wrong=9)])

    assert table is not None
    assert [row[-1] for row in table.groups[0]] == ["+3", "\u22122"]
    assert build_waits_table([]) is None


def test_comparators_stand_below_our_best_on_shared_benchmarks() -> None:
    ours = [
        scored("cap_8", model="trained", accuracy=0.4),
        scored("cap_9", model="trained", accuracy=0.6),
    ]
    theirs = [
        Published("s1-32B", "sums", 0.567, is_drawn=True, source="Table 1"),
        Published("o1", "aime24", 0.744, is_drawn=True, source="Table 1"),
    ]

    table = build_comparators_table(ours, theirs)

    assert table is not None
    assert table.groups == (
        (("trained, cap_9", "sums", f"60.0{PM}5.0", "this report, the best budget"),),
        (("s1-32B", "sums", "56.7", "Table 1"),),
    )
    assert build_comparators_table(ours, theirs[1:]) is None


def test_time_table_counts_a_step_once(tmp_path: Path) -> None:
    table = build_time_table([read_experiment(write_experiment(tmp_path, num_items=2))])

    assert table is not None
    (rows,) = table.groups
    assert [row[:2] for row in rows] == [
        ("curate", "22 s"),
        ("evaluate base", "2 min 21 s"),
        ("train", "3 min 25 s"),
        ("evaluate trained", "2 min 40 s"),
        ("all", "8 min 48 s"),
    ]


def test_cost_table_spells_every_number_of_a_nested_cost() -> None:
    table = build_cost_table({"actual": {"seconds": 3725.0, "dollars": None}, "gpu_hours": 6.93})

    assert table is not None
    assert table.groups[0] == (
        ("actual, seconds", "1 h 02 min"),
        ("actual, dollars", "\u2013"),
        ("gpu hours", "6.93"),
    )
    assert build_cost_table({}) is None


def test_headlines_are_differences_with_their_standard_errors() -> None:
    points = [
        scored("cap_0", model="trained", accuracy=0.04),
        scored("cap_64", model="trained", accuracy=0.77),
        scored("natural", model="trained", accuracy=0.80),
        scored("natural", model="base", accuracy=0.10),
        replace(WAITED, accuracy=0.78),
    ]

    over_base, budgets, waits = build_headlines(points, experiment="demo")

    # sqrt(0.05^2 + 0.05^2) = 0.0707
    assert (over_base.value, over_base.error) == ("+70.0", "\u00b1 7.1")
    assert over_base.statement == "trained over base model, thinking to its natural end"
    assert (budgets.value, budgets.detail) == ("+73.0", f"77.0{PM}5.0 % against 4.0{PM}5.0 %")
    assert budgets.statement == "trained model, from a budget of 0 to 64 thinking tokens"
    assert (waits.value, waits.statement) == ("\u22122.0", "trained model, 2 Waits against none")


def test_many_headlines_become_a_table_grouped_by_benchmark() -> None:
    points = [scored(name, model="trained", accuracy=0.1) for name in ("cap_0", "cap_9")]
    both = points + [replace(point, benchmark="gsm8k") for point in points]

    table = build_headlines_table(build_headlines(both, experiment="demo"))

    assert [[row[3:] for row in group] for group in table.groups] == [
        [("gsm8k", "demo")],
        [("sums", "demo")],
    ]
    assert table.groups[0][0][0] == "0.0 \u00b1 7.1"


def test_headlines_without_scores_are_none() -> None:
    assert build_headlines([replace(POINT, accuracy=None), POINT], experiment="demo") == ()


def test_headline_without_standard_errors_claims_none() -> None:
    points = [replace(scored("cap_0", model="x", accuracy=0.0), stderr=None)]
    points.append(scored("cap_8", model="x", accuracy=1.0))

    (headline,) = build_headlines(points, experiment="demo")

    assert (headline.value, headline.error) == ("+100.0", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.6, "1 min 00 s"),
        (692, "11 min 32 s"),
        (88500, "24 h 35 min"),
        (42, "42 s"),
    ],
)
def test_seconds_are_told_in_two_units(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e6, "1,000,000"),
        (0.00031, "0.0003"),
        (6.934, "6.93"),
        (1234.5, "1,234"),
        (-2.5, "\u22122.50"),
    ],
)
def test_numbers_of_unknown_size_keep_the_digits_that_matter(value: float, text: str) -> None:
    assert format_significant(value) == text


def test_signs_and_absence_are_typeset() -> None:
    assert format_difference(-0.0004) == "0.0"
    assert format_difference(0.25) == "+25.0"
    assert format_difference(-0.012) == "\u22121.2"
    assert format_percent_error(0.5, None) == "50.0"
    assert format_percent_error(None, 0.1) == "\u2013"


def test_moment_is_told_to_the_minute_or_left_as_it_is() -> None:
    assert format_time("2026-11-23T18:35:35+0000") == "2026-11-23 18:35 UTC"
    assert format_time("yesterday") == "yesterday"
