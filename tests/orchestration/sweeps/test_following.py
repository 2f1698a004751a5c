"""Reports of a trial: at fixed tokens, the same again, and none beyond where it was stopped."""

from pathlib import Path

import pytest

from s1ray.orchestration.run_directory.events import EventLog
from s1ray.orchestration.sweeps.following import Report, StopRecord, follow_reports
from s1ray.orchestration.sweeps.tuning import count_concurrent
from tests.orchestration.sweeps.sweeping import plan_sweep


def _train(path: Path, *, steps: range) -> None:
    with EventLog(path) as log:
        for step in steps:
            log.append(step, {"train/num_tokens": 40, "train/loss_nats_per_token": 10.0 / step})


def _follow(path: Path) -> list[Report]:
    return list(follow_reports(path, every_tokens=100, wait=lambda: False))


def test_reports_come_at_fixed_tokens_with_the_mean_loss_since_the_last(tmp_path: Path) -> None:
    _train(tmp_path, steps=range(1, 8))

    assert [report.tokens for report in _follow(tmp_path)] == [120, 200, 280]
    assert [report.loss for report in _follow(tmp_path)] == pytest.approx(
        [(10 / 1 + 10 / 2 + 10 / 3) / 3, (10 / 4 + 10 / 5) / 2, (10 / 6 + 10 / 7) / 2]
    )


def test_reports_of_a_growing_log_are_those_of_the_whole(tmp_path: Path) -> None:
    steps = iter(range(1, 12))

    def grow() -> bool:
        step = next(steps, None)
        if step is not None:
            _train(tmp_path, steps=range(step, step + 1))
        return step is not None

    growing = list(follow_reports(tmp_path, every_tokens=100, wait=grow))

    assert growing == _follow(tmp_path)


def test_a_run_without_a_log_has_no_reports(tmp_path: Path) -> None:
    assert _follow(tmp_path / "nowhere") == []


def test_stop_record_keeps_the_last_report(tmp_path: Path) -> None:
    record = StopRecord(path=tmp_path / "stopped" / "trial.json")
    assert record.read() is None

    record.write(Report(tokens=120, loss=2.5))

    assert record.read() == Report(tokens=120, loss=2.5)


@pytest.mark.parametrize(
    ("resources", "expected"),
    [({"CPU": 2.0}, 1), ({"CPU": 7.0, "GPU": 0.0}, 3), ({"CPU": 64.0, "memory": 1.0}, 32)],
)
def test_trials_at_once_are_what_the_cluster_holds(
    tmp_path: Path, resources: dict[str, float], expected: int
) -> None:
    recipes = [trial.recipe for trial in plan_sweep(tmp_path).trials]

    assert count_concurrent(recipes, resources) == expected


def test_cluster_without_room_for_one_trial_is_refused_with_the_need(tmp_path: Path) -> None:
    recipes = [trial.recipe for trial in plan_sweep(tmp_path).trials]

    with pytest.raises(ValueError, match=r"'CPU': 2\.0.*sharding\.num_workers"):
        count_concurrent(recipes, {"CPU": 1.0})
