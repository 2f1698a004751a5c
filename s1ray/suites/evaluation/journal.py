"""An evaluation whose replicas note what they begin and finish, so that work done twice is counted.

Run as ``python -m s1ray.suites.evaluation.journal JOURNAL OVERRIDE...``: a process that a
suite can kill.
"""

import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from s1ray.evaluation.samples import SampleGroup
from s1ray.orchestration.answering.evaluate import prepare_evaluate
from s1ray.orchestration.answering.evaluation import EvaluationPlan, run_evaluation
from s1ray.orchestration.answering.serve import Replica, ReplicaSettings
from s1ray.orchestration.composing import compose_recipe
from s1ray.records import Completion

BEGUN, FINISHED, UP = "begun", "finished", "up"


def plan_recipe(overrides: Sequence[str]) -> EvaluationPlan:
    """Return the evaluation of the base model that a recipe's overrides describe."""
    plan = prepare_evaluate(compose_recipe([*overrides, "target=base"])).evaluation
    assert plan is not None
    return plan


def note_in(journal: Path) -> type[Replica]:
    """Return a replica that notes in a file its process, what it begins and what it finishes."""

    class JournalingReplica(Replica):
        def __init__(self, settings: ReplicaSettings) -> None:
            super().__init__(settings)
            _note(f"{UP} {os.getpid()}")

        async def solve(self, group: SampleGroup) -> AsyncIterator[tuple[str, Completion]]:
            for policy in group.policies:
                _note(f"{BEGUN} {group.task(policy)}")
            async for policy, completion in super().solve(group):
                _note(f"{FINISHED} {group.task(policy)}")
                yield policy, completion

    def _note(text: str) -> None:
        line = f"{text}\n".encode()
        file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, line)
        os.close(file)

    return JournalingReplica


def count_again(journal: Path, what: str) -> int:
    """Return how many samples were begun, or finished, once more than was needed."""
    lines = journal.read_text(encoding="utf-8").split("\n")
    counts = Counter(line for line in lines if line.startswith(f"{what} "))
    return sum(counts.values()) - len(counts)


def find_replicas(journal: Path) -> list[int]:
    """Return the processes of the replicas, in the order in which they came up."""
    lines = journal.read_text(encoding="utf-8").split("\n")
    return [int(line.split()[1]) for line in lines if line.startswith(f"{UP} ")]


def main() -> None:
    """Evaluate as the command line says."""
    journal, *overrides = sys.argv[1:]
    run_evaluation(plan_recipe(overrides), replica=note_in(Path(journal)))


if __name__ == "__main__":
    main()
