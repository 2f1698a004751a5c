"""W&B's own record of a run on disk, read back by its client: what ``wandb sync`` would send."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return the history rows of a ``.wandb`` file, nested keys dotted."""
    return [row["item"] for row in _read_rows(path, kind="history")]


def read_artifacts(path: Path) -> list[dict[str, Any]]:
    """Return the artifacts of a ``.wandb`` file with their manifests."""
    return list(_read_rows(path, kind="artifact"))


def _read_rows(path: Path, *, kind: str) -> Iterator[dict[str, Any]]:
    wandb = str(Path(sys.executable).with_name("wandb"))
    done = subprocess.run(
        [wandb, "leet", "inspect", "--json", str(path)], capture_output=True, text=True, check=True
    )
    rows = (json.loads(line) for line in done.stdout.split("\n") if line)
    return (row[kind] for row in rows if row["type"] == kind)


def is_event(row: dict[str, Any]) -> bool:
    """Whether a row is an event of the run, not a table of samples."""
    return not any(name.startswith("samples.") for name in row)
