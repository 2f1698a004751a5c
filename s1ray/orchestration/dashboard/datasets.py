"""A run's data set as a W&B artifact by reference: the dashboard knows its digest, not its rows.

The run writes ``dataset.json``; the sink reads it when the run has ended well.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from s1ray.orchestration.run_directory.runs import Run, write_json

DATASET = "dataset.json"


def declare_dataset(run: Run, *, files: Sequence[str], facts: Mapping[str, Any]) -> None:
    """Say which of a run's files are its data set.

    Args:
        run: Its name is the artifact's.
        files: Relative to the run's directory.
        facts: Shown with the artifact, such as the number of rows.
    """
    write_json(run.path / DATASET, {"name": run.name, "files": list(files), "facts": dict(facts)})


def build_datasets(run_path: Path) -> Iterator[Any]:
    """Yield a run's data set as W&B's artifact, where the run declared one."""
    path = run_path / DATASET
    if not path.exists():
        return
    import wandb  # noqa: PLC0415 - half a second that only the sink pays

    content = json.loads(path.read_text(encoding="utf-8"))
    artifact = wandb.Artifact(content["name"], type="dataset", metadata=content["facts"])
    for name in content["files"]:
        artifact.add_reference((run_path / name).absolute().as_uri(), name=name)
    yield artifact
