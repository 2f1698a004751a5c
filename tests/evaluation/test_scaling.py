"""s1's metrics against the five rows of its Table 3 that its own tables allow to recompute."""

from dataclasses import dataclass

import pytest

from s1ray.evaluation.scaling import (
    control,
    control_of_samples,
    find_solving_budgets,
    performance,
    scaling,
)
from s1ray.records import Verdict
from tests.evaluation.builders import make_score, make_scores


@dataclass(frozen=True, kw_only=True)
class Run:
    thinking_tokens: float
    accuracy: float
    max_thinking_tokens: float | None = None
    min_thinking_tokens: float | None = None


def make_runs(solved: dict[int, int], limits: list[int]) -> list[Run]:
    return [
        Run(thinking_tokens=tokens, accuracy=correct / 30, max_thinking_tokens=limit)
        for (tokens, correct), limit in zip(solved.items(), limits, strict=True)
    ]


TOKEN_LIMITS = [1024, 2048, 4096, 8192, 16384]
STEP_LIMITS = [100 * steps for steps in (16, 32, 64, 128, 256)]

# Mean thinking tokens and AIME24 questions solved of 30: arXiv 2501.19393, Tables 11 to 13.
TOKEN_CONDITIONAL = make_runs({7939: 8, 7158: 9, 8263: 10, 7108: 10, 7500: 12}, TOKEN_LIMITS)
TOKEN_CONDITIONAL_FORCED = make_runs({1024: 1, 2048: 9, 4031: 10, 5664: 10, 6330: 12}, TOKEN_LIMITS)
STEP_CONDITIONAL = make_runs({7252: 10, 6277: 7, 5396: 10, 5552: 11, 7551: 10}, STEP_LIMITS)
STEP_CONDITIONAL_FORCED = make_runs({1517: 7, 2963: 7, 4636: 10, 5409: 11, 7551: 10}, STEP_LIMITS)
# "Short" must stay below the 6109 tokens of the unprompted run, "long" must exceed them.
CLASS_CONDITIONAL = [
    Run(thinking_tokens=8033, accuracy=9 / 30, max_thinking_tokens=6109),
    Run(thinking_tokens=9651, accuracy=11 / 30, min_thinking_tokens=6109),
]

ROWS = [
    pytest.param(TOKEN_CONDITIONAL, 40, -23.767, -24, 40.0, id="TCC"),
    pytest.param(TOKEN_CONDITIONAL_FORCED, 100, 13.158, 13, 40.0, id="TCC+BF"),
    pytest.param(STEP_CONDITIONAL, 60, 2.929, 3, 36.7, id="SCC"),
    pytest.param(STEP_CONDITIONAL_FORCED, 100, 6.410, 6, 36.7, id="SCC+BF"),
    pytest.param(CLASS_CONDITIONAL, 50, 25.182, 25, 36.7, id="CCC"),
]


@pytest.mark.parametrize(("runs", "percent", "slope", "printed", "best"), ROWS)
def test_table_3_rows_come_out_as_published(
    runs: list[Run], percent: int, slope: float, printed: int, best: float
) -> None:
    kept, found, top = control(runs), scaling(runs), performance(runs)

    assert kept is not None
    assert round(100 * kept, 6) == percent
    assert found.points_per_doubling == pytest.approx(slope, abs=5e-4)
    assert found.points_per_doubling is not None
    assert round(found.points_per_doubling) == printed
    assert top is not None
    assert round(100 * top, 1) == best


def test_scaling_runs_of_equal_tokens_are_skipped_and_counted() -> None:
    runs = [
        Run(thinking_tokens=1000, accuracy=0.2),
        Run(thinking_tokens=1000, accuracy=0.6),
        Run(thinking_tokens=2000, accuracy=0.5),
    ]

    slope = scaling(runs)

    assert slope.points_per_doubling == pytest.approx((30 - 10) / 2)
    assert (slope.num_pairs, slope.num_skipped_pairs) == (2, 1)


def test_scaling_runs_without_thinking_are_skipped_and_counted() -> None:
    runs = [
        Run(thinking_tokens=0, accuracy=0.0),
        Run(thinking_tokens=8, accuracy=0.2),
        Run(thinking_tokens=32, accuracy=0.4),
    ]

    slope = scaling(runs)

    assert slope.points_per_doubling == pytest.approx(10)
    assert (slope.num_pairs, slope.num_skipped_pairs) == (1, 2)


def test_scaling_one_run_has_no_slope() -> None:
    assert scaling([Run(thinking_tokens=5, accuracy=1.0)]).points_per_doubling is None


def test_scaling_order_of_runs_does_not_matter() -> None:
    forwards, backwards = scaling(STEP_CONDITIONAL), scaling(STEP_CONDITIONAL[::-1])

    assert forwards.points_per_doubling == pytest.approx(backwards.points_per_doubling)


def test_control_without_any_bound_is_none() -> None:
    assert control([Run(thinking_tokens=5, accuracy=1.0)]) is None
    assert performance([]) is None


def test_control_of_samples_counts_samples_not_their_mean() -> None:
    assert control_of_samples([10, 10, 10, 50], max_thinking_tokens=20) == 0.75
    assert control_of_samples([20], max_thinking_tokens=20) == 1.0
    assert control_of_samples([20], max_thinking_tokens=None) is None
    assert control_of_samples([], max_thinking_tokens=20) is None


def test_solving_budget_is_the_smallest_that_solves() -> None:
    samples = [
        *make_scores("WWRR", policy="cap_8"),
        *make_scores("WRWR", policy="cap_16"),
        *make_scores("WRRR", policy="cap_32"),
        *make_scores("RRRR", policy="natural"),
    ]

    found = find_solving_budgets(
        samples, budgets={"cap_16": 16, "cap_8": 8, "cap_32": 32}, solved_share=1.0
    )

    assert found == {"000": None, "001": 16, "002": 8, "003": 8}


def test_solving_budget_needs_the_share_of_an_items_scored_samples() -> None:
    samples = [
        *make_scores("RWW", policy="cap_8", item="x"),
        *make_scores("RWR", policy="cap_16", item="x"),
        make_score("x", Verdict.UNSCORED, policy="cap_8", sample=3),
    ]

    found = find_solving_budgets(samples, budgets={"cap_8": 8, "cap_16": 16}, solved_share=0.5)

    assert found == {"x": 16}
