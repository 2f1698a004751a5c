"""What run directories say, as records: runs, points, effects and steps.

It knows no file, no figure and no page.
"""

from collections.abc import Callable, Mapping, Sequence
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
    "vote": "majority of samples",
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
    """A run and, where it has steps, the runs of its steps, and of theirs."""

    head: Run
    runs: tuple[Run, ...]
    """``head`` first, then its steps in order, each followed by its own."""
    missing: tuple[str, ...]
    """Steps that ``run.json`` names and no directory holds."""
    trials: Mapping[str, "Experiment"]
    """Those of its steps that have steps, by what results call their model: of a sweep."""

    def select_stage(self, stage: str) -> tuple[Run, ...]:
        """Return the runs of one stage."""
        return tuple(run for run in self.runs if run.stage == stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The run in which one model of the page was evaluated."""

    experiment: Run
    """The run that it is a step of, of a sweep the trial; or the evaluation itself."""
    path: Path
    label: str
    """What its results call the model; empty where neither run nor results tell."""
    model: str | None
    """Its name on the page; None where there is no label."""


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
    """Share of samples within the cap, or else what the prompt asked for; None for neither."""
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
class Vote:
    """The accuracy of votes among several samples of each question."""

    series: str
    """<benchmark>/<model>"""
    policy: str
    """Of the samples that vote."""
    size: int
    """Samples in one vote."""
    majority: float
    majority_stderr: float | None
    shortest_majority: float
    shortest_majority_stderr: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """What a reader of results must know of a benchmark."""

    name: str
    num_questions: int
    licence: str
    is_private: bool
    """Whether its questions stay out of the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What ``results.json`` holds, of one run or several."""

    points: tuple[BudgetPoint, ...]
    scaling: Mapping[str, Mapping[str, float | None]]
    """Control, Scaling, Performance by "<benchmark>/<model>"."""
    waits: tuple[WaitEffect, ...]
    votes: tuple[Vote, ...]
    benchmarks: tuple[Benchmark, ...]
    cost: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two evaluations to be held against each other, question by question."""

    reference: str
    """The model's name on the page."""
    variant: str
    reference_path: Path
    """Run directory of the reference's evaluation."""
    variant_path: Path
    policy: str
    """The budget at which they are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedEffect:
    """How much a variant is above a reference on the same questions; shares of 0..1."""

    benchmark: str
    accuracy_reference: float
    accuracy_variant: float
    low: float
    """Ends of the interval of the difference, variant minus reference."""
    high: float
    num_items: int
    is_resolved: bool
    """Whether so many questions can tell the two apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a plan said of a training run, and what the run took; None where it is not known."""

    run: str
    quantity: str
    """Unit included."""
    predicted: float | None
    actual: float | None
    basis: str
    """The hardware that was assumed, or why there is no prediction."""


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
    def is_drawn(self) -> bool:
        """Whether it is a line in the figure of accuracy."""
        ...

    @property
    def source(self) -> str:
        """Where it was published."""
        ...


class PublishedPoint(Protocol):
    """An accuracy that others published with the thinking it took."""

    @property
    def system(self) -> str:
        """Whose."""
        ...

    @property
    def method(self) -> str:
        """How thinking was scaled; a key of ``METHODS``."""
        ...

    @property
    def benchmark(self) -> str:
        """On which."""
        ...

    @property
    def thinking_tokens(self) -> float:
        """Mean over the questions."""
        ...

    @property
    def accuracy(self) -> float:
        """Share of 0..1."""
        ...

    @property
    def source(self) -> str:
        """Where it was published."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Companions:
    """What stands on a page beside the runs, and only other parts of the house can tell."""

    comparators: tuple[Comparator, ...]
    """Scores that others published."""
    published: tuple[PublishedPoint, ...]
    """Likewise, with the thinking they took."""
    compare: Callable[[Pair], Sequence[PairedEffect]]
    """Measures a pair, a benchmark each; nothing where no question is in both."""
    predict: Callable[[Run], Sequence[Prediction]]
    """Returns a training run's plan beside what it took."""
