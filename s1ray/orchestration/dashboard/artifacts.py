"""What a run leaves in W&B beside its numbers: code, environment, answers and weights.

Files are read where they lie and are never copied: a reference carries the digest that the run's
own manifest has. It knows W&B's run as the sink opened it, and nothing of when it is called.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from s1ray.evaluation.store import SAMPLES
from s1ray.orchestration.run_directory.provenance import DIFF, ENVIRONMENT
from s1ray.orchestration.run_directory.runs import MANIFEST

logger = logging.getLogger(__name__)
ERROR = "error.txt"
"""The traceback of a run that failed."""


def log_error(board: Any, run_path: Path) -> None:  # noqa: ANN401 - wandb's run
    """Say why the run failed, where it did."""
    error = run_path / ERROR
    if error.exists():
        board.summary["error"] = error.read_text(encoding="utf-8")


def log_artifacts(board: Any, artifacts: Iterable[Any]) -> None:  # noqa: ANN401 - wandb's run
    """Log artifacts; one that the server does not take costs that one alone."""
    for artifact in artifacts:
        try:
            board.log_artifact(artifact)
        except Exception as error:  # the client raises whatever its parts do
            logger.warning("W&B did not take the artifact %s: %s", artifact.name, error)


def build_artifacts(run_path: Path, *, run_name: str) -> Iterator[Any]:
    """Yield the run's artifacts; what is not there, or not finished, is left out."""
    import wandb  # noqa: PLC0415 - in the sink's process alone

    state = [run_path / name for name in (DIFF, ENVIRONMENT) if (run_path / name).exists()]
    if state:
        code = wandb.Artifact(f"code-{run_name}", type="code")
        for path in state:
            code.add_file(str(path))
        yield code
    manifest = run_path / MANIFEST
    if not manifest.exists():
        return
    digests = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    if SAMPLES in digests:
        yield _refer(f"samples-{run_name}", "samples", run_path, {SAMPLES: digests[SAMPLES]})
    weights = {name: digest for name, digest in digests.items() if name.endswith(".safetensors")}
    if weights:
        yield _refer(f"model-{run_name}", "model", run_path, weights)


def _refer(name: str, kind: str, run_path: Path, digests: dict[str, str]) -> Any:  # noqa: ANN401
    import wandb  # noqa: PLC0415 - see build_artifacts

    artifact = wandb.Artifact(name, type=kind, metadata={"sha256": digests})
    for file in digests:
        artifact.add_reference((run_path / file).as_uri(), name=file, checksum=False)
    return artifact
