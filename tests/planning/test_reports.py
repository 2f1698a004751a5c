from dataclasses import replace

import pytest

from s1ray.planning.reports import (
    compare_reports,
    format_table,
    infer_node_gbit,
    make_reported_recipe,
)
from tests.planning.plans import load_cluster, load_planning

CONFIG = load_planning()
COMPARISONS = {
    item.report.name: item
    for item in compare_reports(load_cluster("h100_2x8_8x400g"), config=CONFIG)
}
UNPREDICTED = "8 H100 with checkpointing"


@pytest.mark.parametrize("name", [name for name in COMPARISONS if name != UNPREDICTED])
def test_reported_outcome_is_predicted(name: str) -> None:
    item = COMPARISONS[name]

    assert item.is_agreeing
    assert item.estimate.fits == item.report.reported_fit
    if item.report.reported_hours is not None:
        hours = item.estimate.training_seconds / 3600
        assert hours == pytest.approx(item.report.reported_hours, rel=0.25)


def test_a_report_that_cannot_be_predicted_says_why() -> None:
    item = COMPARISONS[UNPREDICTED]

    # It did fit, as predicted; the time is off by a factor of two.
    assert item.estimate.fits
    assert not item.is_agreeing
    assert "cannot be" in item.report.remark


def test_a_step_of_s1_takes_what_the_paper_implies() -> None:
    step = COMPARISONS["s1K on 16 H100"].estimate.step

    # 26 minutes over 315 steps.
    assert step.total == pytest.approx(26 * 60 / 315, rel=0.1)


@pytest.mark.parametrize(
    ("name", "gbit"),
    # Reference: about 47 and 7 Gbit/s a node, if all of the time is the network's.
    [("s1K on 16 H100 that stay at 250 W", 47), ("s1K on 16 H100, slowest report", 7)],
)
def test_the_network_that_explains_a_report_is_found(name: str, gbit: float) -> None:
    cluster = load_cluster("h100_2x8_8x400g")
    report = COMPARISONS[name].report

    found = infer_node_gbit(cluster, report, config=CONFIG)

    assert found == pytest.approx(gbit, rel=0.1)
    exact = report.model_copy(update={"node_gbit": found})
    config = CONFIG.model_copy(update={"reports": (exact,)})
    (again,) = compare_reports(cluster, config=config)
    assert again.estimate.training_seconds / 3600 == pytest.approx(report.reported_hours)


def test_a_report_that_no_network_explains_is_refused() -> None:
    report = COMPARISONS["s1K on 16 H100"].report.model_copy(update={"reported_hours": 0.1})

    with pytest.raises(ValueError, match=r"no bandwidth .* explains 0.1 hours"):
        infer_node_gbit(load_cluster("h100_2x8_8x400g"), report, config=CONFIG)


def test_a_report_without_a_time_has_no_network_to_infer() -> None:
    report = COMPARISONS["s1.1 at 32,768 tokens on 16 H100"].report

    with pytest.raises(ValueError, match="states no time"):
        infer_node_gbit(load_cluster("h100_2x8_8x400g"), report, config=CONFIG)


def test_the_predictions_do_not_hang_on_the_spread_of_the_lengths() -> None:
    """The published statistics allow sigma from 0.2 to 0.4; each predicts the 26 minutes."""
    for sigma, median in ((0.2, 4658), (0.4, 5297)):
        lengths = CONFIG.report_lengths["s1k"].model_copy(
            update={"sigma": sigma, "median_tokens": median}
        )
        config = CONFIG.model_copy(
            update={"report_lengths": {**CONFIG.report_lengths, "s1k": lengths}}
        )

        first = compare_reports(load_cluster("h100_2x8_8x400g"), config=config)[0]

        assert first.is_agreeing


def test_a_third_gather_would_still_predict_the_paper() -> None:
    recipe = make_reported_recipe(CONFIG.reports[0], config=CONFIG)
    script = CONFIG.report_recipe.model_copy(update={"gathers_per_pass": 3})
    config = CONFIG.model_copy(update={"report_recipe": script})

    first = compare_reports(load_cluster("h100_2x8_8x400g"), config=config)[0]

    assert first.is_agreeing
    assert make_reported_recipe(CONFIG.reports[0], config=config) == replace(
        recipe, gathers_per_pass=3
    )


def test_the_table_shows_prediction_beside_report() -> None:
    table = format_table(tuple(COMPARISONS.values()))

    lines = table.splitlines()
    assert len(lines) == 2 + len(CONFIG.reports)
    assert all(line.count("|") == 7 for line in lines)
    assert "| 24 min | 26 min | yes |" in lines[2]
    assert "| out of memory | yes |" in lines[3]
