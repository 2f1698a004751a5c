"""When a replica takes its job for dead; replicas at work: test_evaluation.py and test_nodes.py."""

from pathlib import Path

from s1ray.orchestration.answering.serve import is_orphaned
from tests.orchestration.processes import hold_elsewhere


def test_replica_is_an_orphan_once_nobody_holds_its_jobs_run(tmp_path: Path) -> None:
    with hold_elsewhere(tmp_path):
        assert not is_orphaned(tmp_path, abandoned_seconds=60)

    assert is_orphaned(tmp_path, abandoned_seconds=60)


def test_replica_on_a_node_that_does_not_see_the_run_is_no_orphan(tmp_path: Path) -> None:
    assert not is_orphaned(tmp_path / "not mounted", abandoned_seconds=60)
