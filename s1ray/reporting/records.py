"""What run directories say, as records: runs, points, effects and steps.

It knows no file, no figure and no page.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

METHODS = {
    "budget": "budget forcing",
    "wait": "with Waits",
    "token": "asked for tokens",
    "token_forced": "asked for tokens, forced",
    "step": "asked for steps",
    "step_forced": "asked for steps, forced",
    "class": "asked to be brief or long",
    "reject": "rejection sampling",
}
"""Ways of scaling thinking, in words; a policy's name begins with its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run directory, as its ``run.json`` and ``config.yaml`` describe it."""

    path: Path
    name: str
    stage: str
    model: str
    """Label of the model that an evaluation is of; empty for other runs."""
    command: str
    started: str
    """ISO 8601, as the run wrote it; empty where it did not."""
    git_sha: str
    """Empty where the run did not stand in a git checkout."""
    is_dirty: bool
    """Whether code had changed since that commit."""
    versions: Mapping[str, str]
    machine: Mapping[str, str]
    resumed_from: str
    """Empty where the run was not resumed."""
    seconds: Mapping[str, float]
    """Time by step of the run."""
    steps: Mapping[str, str]
    """Run directories of the steps of a run of several, by step; relative."""
    config: str
    """Resolved configuration, YAML; empty where the file is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A run and, where it has steps, the runs of its steps."""

    head: Run
    runs: tuple[Run, ...]
    """``head`` first, then its steps in order."""
    missing: tuple[str, ...]
    """Steps that ``run.json`` names and no directory holds."""

    def select_stage(self, stage: str) -> tuple[Run, ...]:
        """Return the runs of one stage."""
        return tuple(run for run in self.runs if run.stage == stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPoint:
    """One model at one budget on one benchmark. Shares are 0..1; None is "not measured"."""

    benchmark: str
    model: str
    policy: str
    max_thinking_tokens: int | None
    """None where thinking ends by itself."""
    num_waits: int
    num_samples: int
    accuracy: float | None
    stderr: float | None
    thinking_tokens: float | None
    """Mean over the samples."""
    answered: float | None
    control: float | None
    """Share of samples within the cap; None where there is no cap."""
    forced: float | None
    """Share of answers that a limit opened in the model's place."""

    @property
    def method(self) -> str:
        """How thinking is scaled, read from the policy's name: such as "token" of "token_512"."""
        if self.num_waits:
            return "wait"
        method = self.policy.split("_")[0]
        if method not in METHODS:
            return "budget"
        return f"{method}_forced" if self.policy.endswith("_forced") else method


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitEffect:
    """What one more Wait changed, on the same samples."""

    series: str
    """<benchmark>/<model>"""
    before: str
    after: str
    num_pairs: int
    right_to_wrong: int
    wrong_to_right: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What ``results.json`` holds, of one run or several."""

    points: tuple[BudgetPoint, ...]
    scaling: Mapping[str, Mapping[str, float | None]]
    """Control, Scaling, Performance by "<benchmark>/<model>"."""
    waits: tuple[WaitEffect, ...]
    cost: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStep:
    """One optimizer step."""

    step: int
    loss_nats: float
    learning_rate: float | None


class Comparator(Protocol):
    """A score that others published, to stand beside ours."""

    @property
    def system(self) -> str:
        """Whose."""
        ...

    @property
    def benchmark(self) -> str:
        """On which."""
        ...

    @property
    def accuracy(self) -> float:
        """Share of 0..1."""
        ...

    @property
    def source(self) -> str:
        """Where it was published."""
        ...
