"""Running results while graded answers come in: an event and a note for the terminal for each.

Every answer counts once, also after a kill: the k-th row of the store is the k-th event.
"""

import time
from collections import Counter
from collections.abc import Sequence

from s1ray.evaluation.metrics import Estimate, RunningAccuracy
from s1ray.evaluation.samples import EvaluatedSample, SampleGroup
from s1ray.orchestration.run_directory.events import EventLog


class EvaluationProgress:
    """Counts answers and writes their events."""

    def __init__(self, groups: Sequence[SampleGroup], *, events: EventLog) -> None:
        """Begin with nothing done.

        Args:
            groups: Everything the evaluation consists of.
            events: Takes one event for each answer; those it has are not written again.
        """
        self._events = events
        self._accuracies: dict[tuple[str, str], RunningAccuracy] = {}
        self._left = Counter[tuple[str, str]]()
        for group in groups:
            self._left[group.benchmark, group.question.id] += len(group.policies)
        self._began = time.monotonic()
        self._num_tokens = 0
        self.num_done = 0

    @property
    def num_questions_left(self) -> int:
        """Questions of which at least one sample is still to come."""
        return len(self._left)

    def restore(self, sample: EvaluatedSample) -> str:
        """Count an answer that was not generated just now; return the note for the terminal."""
        return self._record(sample, tokens_per_second=None)

    def record(self, sample: EvaluatedSample) -> str:
        """Count a new answer and return the note for the terminal."""
        self._num_tokens += sample.completion.num_generated_tokens
        speed = self._num_tokens / (time.monotonic() - self._began)
        return f"{self._record(sample, tokens_per_second=speed)}, {speed:.0f} tokens/s"

    def _record(self, sample: EvaluatedSample, *, tokens_per_second: float | None) -> str:
        """Write the answer's event, unless it is there; return what there is to say."""
        task = sample.task
        self.num_done += 1
        question = (task.benchmark, task.item)
        self._left[question] -= 1
        if self._left[question] <= 0:
            del self._left[question]
        accuracy = self._accuracies.setdefault((task.benchmark, task.policy), RunningAccuracy())
        accuracy.add(task, sample.graded.verdict)
        estimate = accuracy.estimate()
        metrics: dict[str, float | str | None] = {"eval/questions_left": self.num_questions_left}
        if tokens_per_second is not None:
            metrics["eval/tokens_per_second"] = tokens_per_second
        if estimate is not None:
            name = f"eval/{task.benchmark}/{task.policy}"
            metrics |= {f"{name}/accuracy": estimate.value, f"{name}/stderr": estimate.stderr}
        self._events.append(self.num_done, metrics)
        shown = "unscored" if estimate is None else _show(estimate)
        return f"{task.benchmark} {task.policy} {shown}, {self.num_questions_left} questions left"


def _show(estimate: Estimate) -> str:
    error = "" if estimate.stderr is None else f" ± {100 * estimate.stderr:.0f}"
    return f"{100 * estimate.value:.0f}{error} %"
