"""``jobs.compare`` and ``jobs.grade``: stored results looked at again; no model, no Ray."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from s1ray.config.compare import CompareConfig
from s1ray.config.grade import GradeConfig
from s1ray.evaluation.comparison import Comparison, compare_samples, describe_resolution
from s1ray.evaluation.protocol import ProtocolDifference, check_differences, find_differences
from s1ray.evaluation.store import SAMPLES, read_samples
from s1ray.grading.regrade import describe, regrade
from s1ray.grading.stored_answers import StoredAnswers, read_stored
from s1ray.orchestration.answering.judge import check_judge, open_judge
from s1ray.orchestration.run_directory.runs import DESCRIPTION, write_json
from s1ray.orchestration.terminal import complain, say, show_table
from s1ray.records import AnswerKind

_COMPARISON = "comparison-{}.json"
"""Beside b's samples; a's name is in it, since b may be held against several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparePlan:
    """Two evaluations that may be compared."""

    config: CompareConfig
    differs: tuple[ProtocolDifference, ...]
    """What their protocols do not share, all of it named."""


def prepare_compare(config: CompareConfig) -> ComparePlan:
    """Check that both runs are evaluations of one protocol.

    Raises:
        ValueError: One is no evaluation, or their protocols differ in what was not named.
    """
    identities = []
    for name, path in (("a", Path(config.a)), ("b", Path(config.b))):
        if not (path / SAMPLES).is_file():
            raise ValueError(
                f"{name}={path} is no evaluation run (it has no {SAMPLES}). "
                f"{_name_evaluations(path)}"
            )
        if not (path / DESCRIPTION).is_file():
            raise ValueError(
                f"{name}={path} has no {DESCRIPTION}, which says how its answers came about. "
                "Name a whole run directory."
            )
        described = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
        identities.append(described["identity"])
    differences = find_differences(*identities)
    named = check_differences(differences, subject=config.subject, allow=config.allow)
    for difference in named:
        say(f"  differs: {difference.path}: {difference.a} -> {difference.b}")
    return ComparePlan(config=config, differs=named)


def _name_evaluations(path: Path) -> str:
    """Say which evaluations a run is made of, or where their names come from."""
    described = path / DESCRIPTION
    content = json.loads(described.read_text(encoding="utf-8")) if described.is_file() else {}
    steps = [path / step for step in (content.get("steps") or {}).values()]
    found = [os.path.relpath(step) for step in steps if (step / SAMPLES).is_file()]
    if found:
        return f"Its evaluations are {', '.join(found)}: name one of them."
    return "Name the directories that python -m jobs.evaluate printed last."


def run_compare(plan: ComparePlan) -> Path:
    """Print paired differences of b minus a; write them beside b's samples and return the file."""
    config = plan.config
    comparisons = compare_samples(
        read_samples(Path(config.a) / SAMPLES),
        read_samples(Path(config.b) / SAMPLES),
        is_common_enough="items" in config.allow,
        num_resamples=config.num_resamples,
        confidence=config.confidence,
        seed=config.seed,
    )
    title = f"accuracy, and b minus a in points with its {config.confidence:.0%} interval"
    show_table(title, [_describe(item) for item in comparisons])
    for comparison in comparisons:
        if comparison.divergences:
            first = comparison.divergences[0]
            say(
                f"{comparison.benchmark}/{comparison.policy}: item {first.item} is the first to "
                f"differ, at {first.part} token {first.position}"
            )
        warning = describe_resolution(comparison.difference)
        if warning:
            complain(f"{comparison.benchmark}/{comparison.policy}: {warning}")
    path = Path(config.b) / _COMPARISON.format(Path(config.a).resolve().name)
    content = {
        "a": config.a,
        "differs": [asdict(difference) for difference in plan.differs],
        "comparisons": [_to_json(item) for item in comparisons],
    }
    write_json(path, content)
    return path


def _to_json(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison with its difference, which is no field."""
    paired = comparison.difference
    difference = {"difference": paired.difference, **asdict(paired)}
    return {**asdict(comparison), "difference": difference}


def _describe(comparison: Comparison) -> dict[str, str]:
    difference = comparison.difference
    return {
        "benchmark": comparison.benchmark,
        "policy": comparison.policy,
        "a %": f"{100 * difference.accuracy_a:.1f}",
        "b %": f"{100 * difference.accuracy_b:.1f}",
        "b - a": f"{100 * difference.difference:+.1f}",
        "low": f"{100 * difference.low:+.1f}",
        "high": f"{100 * difference.high:+.1f}",
        "n": str(difference.num_items),
        "differ": str(len(comparison.divergences)),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class GradePlan:
    """Stored answers that can be graded."""

    config: GradeConfig
    stored: StoredAnswers


def prepare_grade(config: GradeConfig) -> GradePlan:
    """Read what is to be graded, and check for a key of the judge.

    Raises:
        ValueError: The input or one of its rows cannot be graded, the output cannot be written, or
            the judge's key is missing.
    """
    check_judge(config.grading)
    stored = read_stored(
        Path(config.input),
        output_path=Path(config.output),
        fields=config.fields,
        answer_kind=AnswerKind(config.answer_kind),
        forms=config.grading.forms,
    )
    return GradePlan(config=config, stored=stored)


def run_grade(plan: GradePlan) -> Path:
    """Grade stored outputs, print what was found, and return the written file."""
    config = plan.config
    with open_judge(config.grading.judge) as judge:
        report = regrade(
            plan.stored,
            output_path=Path(config.output),
            max_pending=config.max_pending,
            config=config.grading,
            judge=judge,
        )
    say(describe(report))
    return Path(config.output)
