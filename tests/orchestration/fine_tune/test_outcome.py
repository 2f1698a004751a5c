from pathlib import Path

import pytest
from ray.exceptions import RayActorError
from ray.train import ControllerError, WorkerGroupError

from s1ray.orchestration.fine_tune.outcome import (
    Outcome,
    explain_failure,
    read_outcome,
    write_outcome,
)

FINISHED = Outcome(is_finished=True, error=None)
BAD_INPUT = Outcome.of_error(ValueError("bad input"))


def test_error_of_any_rank_is_the_outcome_whoever_ends_after_or_before_it(tmp_path: Path) -> None:
    assert read_outcome(tmp_path) is None
    write_outcome(tmp_path, FINISHED, rank=0)
    assert read_outcome(tmp_path) == FINISHED

    write_outcome(tmp_path, BAD_INPUT, rank=1)
    write_outcome(tmp_path, FINISHED, rank=0)
    write_outcome(tmp_path, Outcome.of_error(ValueError("of another rank")), rank=2)

    assert read_outcome(tmp_path) == BAD_INPUT
    assert [path.name for path in tmp_path.iterdir()] == ["outcome.json"]


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (WorkerGroupError("rank 1 died", {}), "workers failed more often than ray.max_failures=3"),
        (ControllerError(OSError("disk")), "Ray Train could not go on: .*disk"),
        (RayActorError(), "Ray Train's controller died"),
    ],
    ids=["workers", "controller's error", "controller's death"],
)
def test_failure_is_explained_by_what_is_known_of_it(
    tmp_path: Path, failure: Exception, words: str
) -> None:
    with pytest.raises(RuntimeError, match=f"(?s)^training failed: (its )?{words}.*checkpoint"):
        raise RuntimeError(explain_failure(tmp_path, failure, max_failures=3))

    write_outcome(tmp_path, BAD_INPUT, rank=1)
    assert explain_failure(tmp_path, failure, max_failures=3) == "ValueError: bad input"
