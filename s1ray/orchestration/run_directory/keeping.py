"""What run directories hold that a later start goes on from, in words."""

import json
from collections.abc import Sequence
from pathlib import Path

from s1ray.evaluation.store import SAMPLES
from s1ray.orchestration.run_directory.runs import DESCRIPTION, read_manifest
from s1ray.reporting.tables.formats import format_seconds
from s1ray.training.checkpoints.commit import MANIFEST_FILE
from s1ray.training.fine_tune import CHECKPOINTS


def describe_kept(path: Path) -> str:
    """Return what a run directory keeps; empty where there is nothing yet.

    Args:
        path: Of a run that was begun.
    """
    if read_manifest(path) is not None:
        return "finished"
    num_checkpoints = len(list((path / CHECKPOINTS).glob(f"*/{MANIFEST_FILE}")))
    if num_checkpoints:
        return f"{num_checkpoints} checkpoint" + ("s" if num_checkpoints > 1 else "")
    if (path / SAMPLES).exists():
        with (path / SAMPLES).open("rb") as file:
            num_answers = sum(1 for line in file if line.endswith(b"\n"))
        return f"{num_answers} answers" if num_answers else ""
    return ""


def summarise_runs(paths: Sequence[Path]) -> list[dict[str, str]]:
    """Return a row for every run that a job began or found: its stage, name, time and state."""
    rows = []
    for path in paths:
        described = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
        seconds = sum(described["seconds"].values())
        rows.append(
            {
                "stage": described["stage"],
                "run": path.name,
                "time": format_seconds(seconds) if seconds else "",
                "state": describe_kept(path) or "begun",
            }
        )
    return rows
