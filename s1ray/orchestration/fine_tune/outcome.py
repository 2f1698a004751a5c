"""How a fine-tune's workers ended, in ``outcome.json``: what another attempt would meet again, too.

It does not know what they did. Whoever began the workers removes the outcome of those before.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ray.train import TrainingFailedError, WorkerGroupError

from s1ray.orchestration.run_directory.runs import write_json

OUTCOME = "outcome.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the workers ended."""

    is_finished: bool
    error: str | None
    """What any of them met and another attempt would meet again; None for nothing."""

    @classmethod
    def of_error(cls, error: Exception) -> "Outcome":
        """Return the end by an error."""
        return cls(is_finished=False, error=f"{type(error).__name__}: {error}")


def read_outcome(run_path: Path) -> Outcome | None:
    """Return how the workers ended; None while they have not, or were killed."""
    try:
        content = json.loads((run_path / OUTCOME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Outcome(**content)


def write_outcome(run_path: Path, outcome: Outcome, *, rank: int) -> None:
    """Write how a rank ended, unless an error is there already: the first one is the cause."""
    known = read_outcome(run_path)
    if known is not None and known.error is not None:
        return
    draft = run_path / f"{OUTCOME}.{rank}"  # ranks of several nodes may share a process id
    write_json(draft, asdict(outcome))
    draft.replace(run_path / OUTCOME)


def explain_failure(run_path: Path, failure: Exception, *, max_failures: int) -> str:
    """Return why training failed, in words.

    Args:
        run_path: The run.
        failure: What Ray Train raised.
        max_failures: How often workers might be started again.
    """
    known = read_outcome(run_path)
    if known is not None and known.error is not None:
        return known.error
    if isinstance(failure, WorkerGroupError):
        how = f"its workers failed more often than ray.max_failures={max_failures}, last with"
    elif isinstance(failure, TrainingFailedError):
        how = "Ray Train could not go on"
    else:
        how = "Ray Train's controller died"
    return (
        f"training failed: {how}: {failure}\n"
        "The last good checkpoint is kept; run the same command again to go on from it."
    )
