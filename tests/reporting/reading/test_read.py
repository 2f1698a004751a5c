import json
from dataclasses import fields
from pathlib import Path

import pytest

from s1ray.evaluation.metrics import Flips
from s1ray.evaluation.points import Point
from s1ray.reporting.reading.read import (
    find_strings,
    read_experiment,
    read_lines,
    read_results,
    read_run,
    read_training,
)
from s1ray.reporting.reading.records import BudgetPoint, WaitEffect
from tests.reporting.fake_evaluations import POLICIES, write_evaluation
from tests.reporting.fake_experiments import write_experiment, write_sweep
from tests.reporting.fake_runs import write_json, write_lines, write_run, write_training


def test_experiment_with_steps_reads_their_runs(tmp_path: Path) -> None:
    experiment = read_experiment(write_experiment(tmp_path, num_items=2))

    stages = [run.stage for run in experiment.runs]
    assert stages == ["reproduce", "curate", "evaluate", "train", "evaluate"]
    assert experiment.missing == ()
    assert experiment.head.versions["torch"] == "2.13.0"
    assert "wait_strings" in experiment.head.config


def test_experiment_with_a_lost_step_names_it(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, num_items=2)
    (tmp_path / "train" / path.name / "run.json").unlink()

    experiment = read_experiment(path)

    assert experiment.missing == ("train",)
    assert experiment.select_stage("train") == ()


def test_sweep_reads_its_trials_and_their_steps(tmp_path: Path) -> None:
    experiment = read_experiment(write_sweep(tmp_path, num_items=2, sizes=[80, 160]))

    assert list(experiment.trials) == ["80 sums", "160 sums"]
    of_one = ["trial", "curate", "train", "evaluate"]
    assert [run.stage for run in experiment.runs] == ["sweep", *of_one, *of_one]


def test_step_that_two_trials_share_is_read_once(tmp_path: Path) -> None:
    shared = write_training(tmp_path / "train" / "t", num_steps=3)
    steps = {"train": f"../../train/{shared.name}"}
    for name in "ab":
        write_run(tmp_path / "trial" / name, identity={}, steps=steps)
    trials = {name: f"../../trial/{name}" for name in "ab"}
    sweep = write_run(tmp_path / "sweep" / "s", identity={}, steps=trials)

    assert [run.name for run in read_experiment(sweep).runs] == ["s", "a", "t", "b"]


def test_step_beside_its_run_is_found(tmp_path: Path) -> None:
    path = write_run(tmp_path / "reproduce" / "r", identity={}, steps={"train": "steps/train/t"})
    write_training(path / "steps" / "train" / "t", num_steps=3)

    assert [run.name for run in read_experiment(path).runs] == ["r", "t"]


def test_directory_without_run_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is not a run directory.*<storage>/<stage>/<run name>"):
        read_run(tmp_path)


def test_malformed_run_json_is_refused_by_path(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{", encoding="utf-8")

    with pytest.raises(ValueError, match=r"run\.json is not JSON"):
        read_run(tmp_path)


def test_dirty_git_diff_reads_as_dirty(tmp_path: Path) -> None:
    path = write_run(tmp_path / "train" / "x", identity={}, git={"sha": None, "dirty": "diff"})

    run = read_run(path)

    assert (run.git_sha, run.is_dirty) == ("", True)


def test_results_without_a_file_of_its_own_join_those_of_the_steps(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, num_items=2)
    whole = read_results(read_experiment(path))
    (path / "results.json").unlink()

    joined = read_results(read_experiment(path))

    assert joined.points == whole.points
    assert len(joined.points) == 2 * len(POLICIES)


def test_results_keep_what_reports_show_and_pass_over_the_rest(tmp_path: Path) -> None:
    row = {"benchmark": "sums", "model": "base", "policy": "cap_8", "max_thinking_tokens": 8}
    row |= {"num_waits": 0, "num_samples": 4, "accuracy": None, "stderr": None, "forced": 0.5}
    row |= {"thinking_tokens": 7.5, "answered": 1.0, "control": 1.0, "pass_at": {"2": None}}
    flip = {"before": "natural", "after": "wait_1", "num_pairs": 4}
    flip |= {"right_to_wrong": 1, "wrong_to_right": 0}
    vote = {"policy": "natural", "size": 4, "majority": 0.5, "majority_stderr": None}
    vote |= {"shortest_majority": 0.25, "shortest_majority_stderr": 0.1}
    document = {"points": [row], "scaling": {"sums/base": {"performance": None}}}
    document |= {"votes": {"sums/base": [vote]}}
    path = write_run(tmp_path / "evaluate" / "e", identity={})
    write_json(path / "results.json", document | {"flips": {"sums/base": [flip]}, "cost": {"a": 1}})

    results = read_results(read_experiment(path))

    assert (results.points[0].forced, results.points[0].accuracy) == (0.5, None)
    assert results.scaling["sums/base"]["performance"] is None
    assert (results.waits[0].series, results.waits[0].right_to_wrong) == ("sums/base", 1)
    assert (results.votes[0].series, results.votes[0].majority) == ("sums/base", 0.5)
    assert results.cost == {"a": 1}


def test_evaluation_writes_every_key_that_reports_read() -> None:
    written = {field.name for field in fields(Point)} | {field.name for field in fields(Flips)}

    read = {field.name for field in (*fields(BudgetPoint), *fields(WaitEffect))}

    assert read - written == {"series"}


def test_point_without_a_key_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path / "evaluate" / "e", identity={})
    write_json(path / "results.json", {"points": [{"benchmark": "sums"}]})

    with pytest.raises(ValueError, match=r"BudgetPoint of results\.json lacks model, policy"):
        read_results(read_experiment(path))


def test_training_recorded_twice_keeps_the_later_record(tmp_path: Path) -> None:
    path = write_training(tmp_path / "train" / "t", num_steps=5)
    rows = list(read_lines(path / "events.jsonl"))
    again = rows[2] | {"train/loss_nats_per_token": 9.0}
    write_lines(path / "events.jsonl", [*rows, again, {"global_step": 6, "time": 1.0, "other": 2}])

    steps = read_training(read_run(path))

    assert [step.step for step in steps] == [1, 2, 3, 4, 5]
    assert steps[2].loss_nats == 9.0


def test_lines_are_split_on_newlines_alone_and_a_torn_last_one_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = json.dumps({"text": "one\u2028line\x85still"}, ensure_ascii=False)
    path.write_text(f'{row}\n{{"text": "to', encoding="utf-8")

    assert list(read_lines(path)) == [{"text": "one\u2028line\x85still"}]


@pytest.mark.parametrize(("line", "message"), [("{", "line 1 is not JSON"), ("3", "line 1 is int")])
def test_malformed_line_is_refused_by_number(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{line}\n{{"a": 1}}\n', encoding="utf-8")

    with pytest.raises(ValueError, match=message):
        list(read_lines(path))


def test_strings_are_found_wherever_a_configuration_holds_them() -> None:
    config = (
        "a: {wait_strings: [Wait, Hmm]}\nb: [{wait_strings: [Hmm, Stop]}, {wait_strings: null}]"
    )

    assert find_strings(config, "wait_strings") == ("Wait", "Hmm", "Stop")
    assert find_strings("", "wait_strings") == ()


def test_evaluation_carries_its_models_label(tmp_path: Path) -> None:
    path = tmp_path / "evaluate" / "e"
    write_evaluation(path, label="trained", benchmarks=["sums"], num_items=2, skill=0.9)

    assert read_run(path).model == "trained"
