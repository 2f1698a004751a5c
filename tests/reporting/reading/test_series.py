import json
from dataclasses import replace
from pathlib import Path

import pytest

from s1ray.reporting.reading.read import read_experiment
from s1ray.reporting.reading.records import Experiment, Results
from s1ray.reporting.reading.series import (
    join_results,
    label_experiments,
    name_models,
    rename_results,
)
from tests.reporting.fake_runs import write_curation, write_run
from tests.reporting.points import POINT

BASE = replace(POINT, model="base")
SHARED = {"base": "0001"}


def results(*points: object) -> Results:
    return Results(
        points=points, scaling={}, waits=(), votes=(), benchmarks=(), cost={"seconds": 1}
    )  # type: ignore[arg-type]


def write_sized(path: Path, name: str, *, num_traces: int, kind: str) -> Experiment:
    write_curation(path / "curate" / name, num_traces=num_traces)
    head = write_run(path / "reproduce" / name, identity={}, steps={"curate": f"curate/{name}"})
    (head / "config.yaml").write_text(json.dumps({"selection": {"kind": kind}}), encoding="utf-8")
    return read_experiment(head)


def test_runs_are_told_apart_by_their_data_sizes(tmp_path: Path) -> None:
    small = write_sized(tmp_path, "a", num_traces=3, kind="random")
    large = write_sized(tmp_path, "b", num_traces=1200, kind="random")

    assert label_experiments([small, large], given=None) == ("3 traces", "1,200 traces")


def test_runs_of_one_size_are_told_apart_by_their_selection(tmp_path: Path) -> None:
    drawn = write_sized(tmp_path, "a", num_traces=3, kind="random")
    chosen = write_sized(tmp_path, "b", num_traces=3, kind="s1k")

    assert label_experiments([drawn, chosen], given=None) == ("3 random", "3 s1k")


def test_runs_that_differ_in_neither_go_by_their_names(tmp_path: Path) -> None:
    one = write_sized(tmp_path, "a", num_traces=3, kind="random")
    two = write_sized(tmp_path, "b", num_traces=3, kind="random")

    assert label_experiments([one, two], given=None) == ("a", "b")


def test_one_run_in_two_storages_goes_by_its_paths(tmp_path: Path) -> None:
    runs = [write_sized(tmp_path / place, "a", num_traces=3, kind="random") for place in "xy"]

    assert label_experiments(runs, given=None) == tuple(str(run.head.path) for run in runs)


@pytest.mark.parametrize("given", [["x"], ["x", "x"]])
def test_labels_that_do_not_tell_runs_apart_are_refused(tmp_path: Path, given: list[str]) -> None:
    runs = [write_sized(tmp_path, name, num_traces=3, kind="random") for name in "ab"]

    with pytest.raises(ValueError, match="as many labels as runs"):
        label_experiments(runs, given=given)


def test_model_that_all_share_is_one_series_and_the_other_goes_by_its_label() -> None:
    small = results(BASE, POINT)
    large = results(BASE, replace(POINT, accuracy=0.9))
    labels = ["1,000 traces", "59,000 traces"]

    names = name_models([small, large], evaluations=[SHARED, SHARED], labels=labels)
    joined = join_results(list(map(rename_results, [small, large], names, labels)))

    assert [(point.model, point.accuracy) for point in joined.points] == [
        ("base", 0.5),
        ("1,000 traces", 0.5),
        ("59,000 traces", 0.9),
    ]
    assert joined.cost == {"seconds, 1,000 traces": 1, "seconds, 59,000 traces": 1}


def test_several_models_of_a_run_keep_their_names_beside_its_label() -> None:
    one = results(BASE, POINT)
    two = results(replace(BASE, accuracy=0.1), replace(POINT, accuracy=0.9))

    first, second = name_models([one, two], evaluations=[SHARED, SHARED], labels=["a", "b"])

    assert first == {"base": "base, a", "trained": "trained, a"}
    assert second["trained"] == "trained, b"


def test_models_of_one_run_keep_their_names() -> None:
    assert name_models([results(BASE, POINT)], evaluations=[SHARED], labels=["a"]) == (
        {"base": "base", "trained": "trained"},
    )


def test_two_models_with_equal_scores_stay_two() -> None:
    same = results(BASE, POINT)
    evaluations = [SHARED | {POINT.model: f"000{number}"} for number in range(2)]

    first, second = name_models([same, same], evaluations=evaluations, labels=["a", "b"])

    assert first == {"base": "base", POINT.model: "a"}
    assert second == {"base": "base", POINT.model: "b"}
