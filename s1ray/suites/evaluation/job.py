"""An evaluation in a process of its own, which is watched, killed, and never left behind."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from s1ray.orchestration.cluster.session import ROOT
from s1ray.suites.evaluation import journal
from s1ray.suites.measuring.process import read_tail

_POLL_SECONDS = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationJob:
    """A running evaluation."""

    process: subprocess.Popen[bytes]
    journal: Path
    log: Path
    wait_seconds: float
    """How long it may take to a row, and then to its end."""

    def wait_for_rows(self, path: Path, least: int) -> int:
        """Return how many whole rows a file has as soon as they are so many.

        Raises:
            RuntimeError: The job ended before, or takes too long.
        """
        deadline = time.monotonic() + self.wait_seconds
        while (found := count_rows(path)) < least:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self.explain(f"{path.name} has {found} of {least} rows"))
            time.sleep(_POLL_SECONDS)
        return found

    def wait(self) -> int:
        """Return its exit code when it has ended.

        Raises:
            RuntimeError: It takes too long.
        """
        try:
            return self.process.wait(self.wait_seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(self.explain("it does not end")) from None

    def explain(self, what: str) -> str:
        """Return what went wrong, with the job's state and the end of what it printed."""
        code = self.process.poll()
        state = f"runs after {self.wait_seconds:g} s" if code is None else f"ended with {code}"
        return f"the evaluation {state}: {what}. It printed last:\n{read_tail(self.log)}"


@contextmanager
def open_job(
    directory: Path, overrides: Sequence[str], *, wait_seconds: float
) -> Iterator[EvaluationJob]:
    """Start an evaluation that notes its work, and end it with the block.

    Args:
        directory: Takes its journal and what it prints, after those of jobs before it.
        overrides: Of its recipe.
        wait_seconds: How long it may take to a row, and then to its end.
    """
    log, notes = directory / "log.txt", directory / "journal"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", journal.__name__, str(notes), *overrides],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield EvaluationJob(process=process, journal=notes, log=log, wait_seconds=wait_seconds)
    finally:
        process.kill()
        process.wait()


def count_rows(path: Path) -> int:
    """Return how many whole rows a file has."""
    return path.read_bytes().count(b"\n") if path.exists() else 0
