"""The whole job: real runs, killed and gone on; what differs is an exit code, not a remark."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from s1ray.orchestration.cluster.session import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_same_workers_are_bit_equal_and_a_difference_ends_with_1(tmp_path: Path) -> None:
    # Another number of workers sums in another order: without a tolerance that is a difference.
    done = subprocess.run(
        [
            sys.executable, "-m", "jobs.verify_resume", "experiment=tiny",
            "verification.absolute_tolerance=0", "verification.relative_tolerance=0",
            f"paths.storage={tmp_path}",
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip

    assert done.returncode == 1, done.stderr[-3000:]
    [results] = tmp_path.glob("verify_resume/*/results.json")
    rows = json.loads(results.read_text(encoding="utf-8"))
    assert [row["went_on_after"] for row in rows] == [3, 2, 2]
    assert [row["comparison"]["is_bit_equal"] for row in rows] == [True, True, False]
    assert [row["is_good"] for row in rows] == [True, True, False]
    assert rows[2]["comparison"]["largest"] < 2e-5
    assert rows[2]["comparison"]["first"] in " ".join(done.stderr.split())
