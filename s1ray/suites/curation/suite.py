"""Screening pools of growing size: rows per second and memory, ours beside plain ``datasets``.

Knows how sides are paired and sizes made; the sides themselves are in ``sides``.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from s1ray.config.curation import (
    NoDifficultyConfig,
    PlainSelectionConfig,
    SourceDiversityConfig,
)
from s1ray.config.suites.curation import CurationSettings, SideName
from s1ray.config.tracking import PathsConfig
from s1ray.curation.pool.items import ProtectedQuestion
from s1ray.curation.screening.screening import CurationRules
from s1ray.grading.benchmarks import load_questions
from s1ray.orchestration.run_directory.runs import RefusedError
from s1ray.orchestration.terminal import say
from s1ray.suites.curation.pools import write_pool
from s1ray.suites.curation.sides import ScreeningTask, choose_work
from s1ray.suites.measuring.pairs import Spread, compare_pairs
from s1ray.suites.measuring.process import Measured, measure_apart
from s1ray.suites.suite import Check, Outcome, Part


def measure_pairs(settings: CurationSettings, _: PathsConfig) -> Outcome:
    """Screen the small pools with every side in turn, ``num_pairs`` times.

    Raises:
        RuntimeError: Two sides selected different questions.
    """
    found = _measure(
        settings, sizes=settings.sizes, sides=settings.sides, num_rounds=settings.num_pairs
    )
    return _describe(found)


def measure_scale(settings: CurationSettings, _: PathsConfig) -> Outcome:
    """Screen the whole pool and its copies once with each side, to see what grows how.

    Raises:
        RuntimeError: Two sides selected different questions.
    """
    return _describe(
        _measure(settings, sizes=settings.whole_sizes, sides=settings.whole_sides, num_rounds=1)
    )


Found = dict[int, dict[SideName, list[Measured]]]


def _measure(
    settings: CurationSettings,
    *,
    sizes: Sequence[int],
    sides: Sequence[SideName],
    num_rounds: int,
) -> Found:
    found: Found = {}
    with TemporaryDirectory() as folder:
        for size in sizes:
            task = _make_task(settings, Path(folder), size=size)
            rounds = found[size] = {side: [] for side in sides}
            for _ in range(num_rounds):
                for side in sides:
                    measured = measure_apart(
                        choose_work(side, task), sample_seconds=settings.sample_seconds
                    )
                    rounds[side].append(measured)
                    say(
                        f"  {size} rows, {side}: {measured.seconds:.1f} s, "
                        f"{measured.peak_memory_gib:.2f} GiB"
                    )
            _check_agreement(rounds, size=size)
    return found


def _make_task(settings: CurationSettings, folder: Path, *, size: int) -> ScreeningTask:
    return ScreeningTask(
        pool=write_pool(settings.pool, folder, num_rows=size, copy_rows=settings.copy_rows),
        protected=tuple(
            ProtectedQuestion(
                benchmark=name,
                item=question.id,
                text=question.text,
                is_private=benchmark.is_private,
            )
            for name, benchmark in settings.benchmark.items()
            for question in load_questions(name, benchmark)
        ),
        decontamination=settings.decontamination,
        rules=CurationRules(
            max_duplicate_fraction=settings.pool.max_duplicate_fraction,
            decontamination=settings.decontamination,
            quality=settings.quality,
            difficulty=NoDifficultyConfig(kind="none"),
            diversity=SourceDiversityConfig(kind="source"),
            selection=PlainSelectionConfig(
                kind="longest",
                num_questions=settings.num_selected,
                seed=0,
                length="solution_or_question_words",
                after_difficulty=False,
            ),
        ),
        screening=settings.screening,
        ray=settings.ray,
        num_selected=settings.num_selected,
        num_processes=settings.num_processes,
    )


def _check_agreement(rounds: Mapping[SideName, Sequence[Measured]], *, size: int) -> None:
    selections = {side: {tuple(one.result) for one in found} for side, found in rounds.items()}
    if len(set().union(*selections.values())) != 1:
        numbers = {side: len(found) for side, found in selections.items()}
        raise RuntimeError(f"sides selected different questions of {size} rows: {numbers}")


def _describe(found: Found) -> Outcome:
    results = {
        f"{size}_rows": {side: _describe_side(size, runs) for side, runs in rounds.items()}
        | _compare(rounds)
        for size, rounds in found.items()
    }
    notes = [
        f"{size} rows: "
        + ", ".join(
            f"{side} {entry['rows_per_second']['median']:.0f} rows/s "
            f"{entry['peak_memory_gib']['median']:.2f} GiB"
            for side, entry in results[f"{size}_rows"].items()
            if "rows_per_second" in entry
        )
        for size in found
    ]
    return Outcome(summary="; ".join(notes), results=results)


def _describe_side(size: int, runs: Sequence[Measured]) -> dict[str, Any]:
    return {
        "seconds": Spread(values=tuple(run.seconds for run in runs)).describe(),
        "rows_per_second": Spread(values=tuple(size / run.seconds for run in runs)).describe(),
        "peak_memory_gib": Spread(values=tuple(run.peak_memory_gib for run in runs)).describe(),
    }


def _compare(rounds: Mapping[SideName, Sequence[Measured]]) -> dict[str, Any]:
    seconds = {
        side: Spread(values=tuple(run.seconds for run in runs)) for side, runs in rounds.items()
    }
    base, *others = seconds
    return {
        f"{other}_seconds_over_{base}": compare_pairs(seconds[other], seconds[base]).describe()
        for other in others
    }


def check_sides(settings: CurationSettings) -> None:
    """Check that the peer is installed.

    Raises:
        RefusedError: It is asked for, and it is not.
    """
    if "datasets" in {*settings.sides, *settings.whole_sides} and find_spec("datasets") is None:
        raise RefusedError(
            "Hugging Face datasets is not installed. Install it with "
            "`pip install -c constraints.txt -e '.[bench]'`, or leave it out: suite.sides and "
            "suite.whole_sides."
        )


SETTINGS = CurationSettings
PARTS: Mapping[str, Part] = {"pairs": measure_pairs, "scale": measure_scale}
CHECKS: Mapping[str, Check] = dict.fromkeys(PARTS, check_sides)
