"""What a save and a SIGKILL cost, on a model of two layers."""

from pathlib import Path

import pytest

from s1ray.config.suites.checkpoint import CheckpointSettings
from s1ray.config.tracking import PathsConfig
from s1ray.suites.checkpoint import measure_lost_work, measure_stall


def make_settings(*recipe: str) -> CheckpointSettings:
    return CheckpointSettings.model_validate(
        {
            "kind": "checkpoint",
            "num_pairs": 2,
            "recipe": ["experiment=tiny", "sharding=cpu1", "training.num_epochs=5000", *recipe],
            "stall": {"steps_between_saves": 1},
            "lost_work": {
                "num_kills": 1,
                "seed": 0,
                "shortest_seconds": 12.0,
                "longest_seconds": 13.0,
                "timeout_seconds": 300.0,
            },
        }
    )


@pytest.fixture
def paths(tmp_path: Path) -> PathsConfig:
    return PathsConfig(storage=str(tmp_path / "runs"), cache=str(tmp_path / "it's, a [cache]"))


def test_stall_is_measured_in_both_modes_on_checkpoints_of_the_same_bits(
    paths: PathsConfig,
) -> None:
    outcome = measure_stall(make_settings(), paths)

    stalls = outcome.results["stall_seconds"]
    assert all(len(stalls[mode]["values"]) == 2 for mode in ("synchronous", "asynchronous"))
    assert outcome.results["state_bytes"] > 3 * 4 * 100_000
    assert any(Path(str(paths.cache)).iterdir())


@pytest.mark.slow
def test_killed_job_has_lost_no_more_than_its_limit(paths: PathsConfig) -> None:
    outcome = measure_lost_work(
        make_settings("checkpoint=default", "checkpoint.max_lost_seconds=6.0"), paths
    )

    [trained] = outcome.results["trained_seconds"]
    assert trained >= 12.0
    # A save can only begin between two steps, and a job that was kept waiting stands in one.
    limit = 6.0 + outcome.results["longest_step_seconds"]
    assert 0.0 <= outcome.results["lost_seconds"]["high"] <= limit
