"""Search spaces spelled out: every combination, draws by seed, one value where one is asked."""

import itertools
import math
from typing import Any

import pytest

from s1ray.config.search import SearchConfig
from s1ray.orchestration.sweeps.space import draw_points, equalise, label_value


def _search(*, draws: int = 1, seed: int = 0, by: str | None = None, **axes: Any) -> SearchConfig:
    equal = {"by": by, "epochs": 5, "steps": 315, "tokens": 1000}
    content = {"axes": axes, "draws": draws, "seed": seed, "equal": equal}
    return SearchConfig.model_validate(content)


def _grid(key: str, values: list[Any], only: Any = None) -> dict[str, Any]:
    return {"kind": "grid", "setting": key, "values": values, "only": only}


RATE = {"kind": "log_uniform", "setting": "rate", "low": 1e-6, "high": 1e-2, "only": None}
DATA = {"kind": "options", "options": {"small": ["n=1"], "large": ["n=9"]}, "only": None}


def test_grid_is_every_combination_in_the_order_of_the_axes() -> None:
    points = draw_points(_search(data=DATA, rank=_grid("rank", [4, 8, 16])))

    assert [tuple(point.labels.values()) for point in points] == list(
        itertools.product(["small", "large"], ["4", "8", "16"])
    )
    assert points[4].overrides == ("n=9",)
    assert points[4].changes == {"rank": 8}


def test_drawn_axes_are_drawn_as_often_as_asked_and_the_same_again() -> None:
    choice = {"kind": "choice", "setting": "seed", "values": [1, 2, 3], "only": None}
    search = _search(draws=20, data=DATA, rate=RATE, seed_=choice)

    points = draw_points(search)

    assert points == draw_points(search)
    assert points != draw_points(search.model_copy(update={"seed": 1}))
    rates = {point.changes["rate"] for point in points}
    assert len(points) == 2 * 20 and len(rates) == 20
    assert {point.changes["seed"] for point in points} == {1, 2, 3}


def test_log_uniform_numbers_spread_over_the_orders_of_magnitude() -> None:
    points = draw_points(_search(draws=2000, rate=RATE))

    decades = [math.floor(math.log10(point.changes["rate"])) for point in points]
    shares = [decades.count(decade) / len(points) for decade in (-6, -5, -4, -3)]
    assert sum(shares) == pytest.approx(1)
    # Four standard deviations of a share of a quarter out of 2000.
    assert all(abs(share - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 2000) for share in shares)


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (DATA | {"only": "large"}, "large"),
        (_grid("cap", [[0], [8, None]], only=[8, None]), "[8,null]"),
        (_grid("rank", [4, 8], only="8"), "8"),
        (RATE | {"only": 3e-4}, "0.0003"),
    ],
)
def test_only_leaves_one_value_of_its_axis(axis: dict[str, Any], expected: str) -> None:
    points = draw_points(_search(other=_grid("x", [1, 2]), axis=axis))

    assert [point.labels["axis"] for point in points] == [expected, expected]


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({}, "search.axes is empty"),
        ({"data": DATA | {"only": "huge"}}, r"search\.axes\.data\.only=huge.*small"),
        ({"rate": RATE | {"only": 1.0}}, r"search\.axes\.rate\.only=1\.0"),
    ],
)
def test_a_space_without_points_is_refused(axes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        draw_points(_search(**axes))


def test_equalise_names_one_length_and_clears_the_others() -> None:
    assert equalise(_search(by="steps").equal) == {
        "training.num_epochs": None, "training.max_steps": 315, "training.max_tokens": None,
    }  # fmt: skip
    assert equalise(_search().equal) == {}


def test_labels_are_json_but_for_strings() -> None:
    assert [label_value(value) for value in ("Wait", 3e-5, None, ["", 1])] == [
        "Wait", "3e-05", "null", '["",1]',
    ]  # fmt: skip
