"""What a checkpoint costs training, and what a SIGKILL costs that no checkpoint holds.

Knows the saver and whole jobs from outside; how a checkpoint is written stands in ``training``.
"""

import itertools
import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from s1ray.config.suites.checkpoint import CheckpointSettings, LostWorkSettings
from s1ray.config.tracking import PathsConfig
from s1ray.curation.traces import read_traces
from s1ray.orchestration.composing import compose_recipe, spell_paths
from s1ray.orchestration.fine_tune.interruption import TrainingProcess, start_training
from s1ray.orchestration.fine_tune.train import TrainPlan, describe_job, prepare_train
from s1ray.orchestration.fine_tune.train_worker import START
from s1ray.orchestration.run_directory.events import read_events
from s1ray.orchestration.training_data.curate import run_curate
from s1ray.records import CheckpointRef, StepMetrics
from s1ray.suites.measuring.pairs import Spread, compare_pairs, measure_in_turn, time_call
from s1ray.suites.suite import Outcome, Part
from s1ray.training.checkpoints.difference import compare_states
from s1ray.training.checkpoints.restoration import read_checkpoint
from s1ray.training.checkpoints.saver import CheckpointSaver
from s1ray.training.checkpoints.search import find_newest_checkpoint
from s1ray.training.fine_tune import CHECKPOINTS, FineTuneJob, tokenize_for
from s1ray.training.loop import TrainState, start_state, train
from s1ray.training.network.sharding import join_ranks

_POLL_SECONDS = 0.02
_MODES = ("synchronous", "asynchronous")


@contextmanager
def _prepared(settings: CheckpointSettings, paths: PathsConfig) -> Iterator[TrainPlan]:
    """Yield the suite's run, its traces chosen, in a directory of its own that is removed."""
    with tempfile.TemporaryDirectory(prefix="checkpoint_suite_") as storage:
        places = spell_paths(storage=storage, cache=paths.cache)
        plan = prepare_train(compose_recipe([*settings.recipe, *places]))
        if plan.curation is not None:
            run_curate(plan.curation)
        yield plan


class _Trainer:
    """A fine-tune in this process that is saved in turn by two savers of one configuration."""

    def __init__(self, job: FineTuneJob, *, traces: Path) -> None:
        sharding = job.sharding
        ranks = join_ranks(sharding)
        self.state: TrainState = start_state(
            job.model_path, training=job.training, sharding=sharding, ranks=ranks
        )
        self._steps: Iterator[StepMetrics] = train(
            self.state,
            examples=tokenize_for(job, read_traces(traces)).examples,
            training=job.training,
            sharding=sharding,
            ranks=ranks,
        )
        self.savers = {
            mode: CheckpointSaver(
                job.run_path / mode,
                config=job.checkpoint.model_copy(
                    update={"mode": mode, "max_lost_seconds": None, "keep_temporary": 1}
                ),
                identity=job.identity,
            )
            for mode in _MODES
        }

    def advance(self, num_steps: int) -> float:
        """Train, and return the seconds of it."""
        return time_call(lambda: list(itertools.islice(self._steps, num_steps)))

    def save(self, mode: str) -> float:
        """Save, and return for how long training stood still."""
        saver = self.savers[mode]
        return time_call(
            lambda: saver.after_step(self.state, is_last=False, is_stopping=False, is_hurried=True)
        )

    def settle(self, mode: str) -> CheckpointRef:
        """Wait for what is being written, and return it."""
        saver = self.savers[mode]
        outcome = saver.after_step(self.state, is_last=False, is_stopping=True, is_hurried=False)
        return outcome.committed[-1]


def measure_stall(settings: CheckpointSettings, paths: PathsConfig) -> Outcome:
    """Compare how long training stands still for a save, asynchronous against synchronous.

    Raises:
        RuntimeError: The two checkpoints of one state differ.
    """
    gap = settings.stall.steps_between_saves
    with _prepared(settings, paths) as plan:
        trainer = _Trainer(describe_job(plan), traces=plan.traces_path)
        trainer.advance(gap)
        num_bytes = _check_agreement(trainer)
        plain: list[float] = []
        beside: dict[str, list[float]] = {mode: [] for mode in _MODES}

        def save(mode: str) -> float:
            plain.append(trainer.advance(gap))
            stall = trainer.save(mode)
            beside[mode].append(trainer.advance(gap))
            return stall

        stalls = measure_in_turn(
            {mode: lambda mode=mode: save(mode) for mode in _MODES},  # type: ignore[misc]
            num_pairs=settings.num_pairs,
        )
        for saver in trainer.savers.values():
            saver.close()
    ratio = compare_pairs(stalls["asynchronous"], stalls["synchronous"])
    slowdown = {
        mode: Spread(values=tuple(seconds)).median - Spread(values=tuple(plain)).median
        for mode, seconds in beside.items()
    }
    return Outcome(
        summary=f"training stands still for {stalls['asynchronous'].median:.3f} s, synchronous "
        f"{stalls['synchronous'].median:.3f} s, ratio {ratio.median:.3f}",
        results={
            "state_bytes": num_bytes,
            "stall_seconds": {mode: stall.describe() for mode, stall in stalls.items()},
            "asynchronous_over_synchronous": ratio.describe(),
            "seconds_lost_by_the_next_steps": slowdown,
            "steps_between_saves": gap,
        },
    )


def _check_agreement(trainer: _Trainer) -> int:
    """Return the bytes of a checkpoint; both modes write the same bits of one state."""
    written = {mode: Path(trainer.settle(mode).path) for mode in _MODES}
    compared = compare_states(
        read_checkpoint(written["synchronous"]),
        read_checkpoint(written["asynchronous"]),
        absolute_tolerance=0.0,
        relative_tolerance=0.0,
    )
    if not compared.is_bit_equal:
        raise RuntimeError(f"the modes write different checkpoints: {compared.first}")
    return sum(file.stat().st_size for file in written["synchronous"].iterdir())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kill:
    """What one SIGKILL cost."""

    lost_seconds: float
    """Of training, between the state of the newest good checkpoint and the kill."""
    trained_seconds: float
    """By the job, until it was killed."""
    step_seconds: float
    """Of its longest step: a save can only begin between two."""


def measure_lost_work(settings: CheckpointSettings, paths: PathsConfig) -> Outcome:
    """Kill a job with all it started, at instants of its training that are drawn, again and again.

    Raises:
        RuntimeError: A job did not begin, or left no good checkpoint.
    """
    limits = settings.lost_work
    draw = random.Random(limits.seed)
    with _prepared(settings, paths) as plan:
        limit = plan.recipe.checkpoint.max_lost_seconds
        kills = []
        for number in range(limits.num_kills):
            storage = Path(plan.recipe.paths.storage) / f"kill_{number}"
            after = draw.uniform(limits.shortest_seconds, limits.longest_seconds)
            kills.append(_kill_once(plan, limits, storage=storage, after=after))
            shutil.rmtree(storage)
    lost = Spread(values=tuple(kill.lost_seconds for kill in kills))
    return Outcome(
        summary=f"a SIGKILL costs {lost.median:.1f} s of training, at most "
        f"{max(lost.values):.1f} s; {limit} s are allowed",
        results={
            "max_lost_seconds": limit,
            "lost_seconds": lost.describe(),
            "trained_seconds": [kill.trained_seconds for kill in kills],
            "longest_step_seconds": max(kill.step_seconds for kill in kills),
        },
    )


def _kill_once(plan: TrainPlan, limits: LostWorkSettings, *, storage: Path, after: float) -> _Kill:
    """Start the job anew, kill it ``after`` seconds of training, and return what it cost."""
    recipe = plan.recipe.model_copy(
        update={
            "traces": str(plan.traces_path),
            "paths": plan.recipe.paths.model_copy(update={"storage": str(storage)}),
        }
    )
    job = start_training(recipe, log=storage / "log.txt", pause_after=None)
    try:
        began = _wait_for_start(job, timeout_seconds=limits.timeout_seconds)
        job.process.join(max(0.0, began + after - time.time()))
        killed = time.time()
    finally:
        job.kill()
    search = find_newest_checkpoint(
        job.run_path / CHECKPOINTS, num_threads=recipe.checkpoint.verify_threads
    )
    rows = {row["global_step"]: row for row in read_events(job.run_path)}
    saved = rows[search.newest.step]["time"] if search.newest else began
    return _Kill(
        lost_seconds=killed - saved,
        trained_seconds=killed - began,
        step_seconds=max(row["train/seconds"] for row in rows.values()),
    )


def _wait_for_start(job: TrainingProcess, *, timeout_seconds: float) -> float:
    """Return when the job's first step began, in Unix seconds.

    Raises:
        RuntimeError: The job ended, or takes too long.
    """
    start = job.run_path / START
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline and job.process.is_alive():
        if start.exists():
            return float(json.loads(start.read_text(encoding="utf-8"))["time"])
        job.process.join(_POLL_SECONDS)
    raise RuntimeError(f"{job.run_path} did not begin; see {job.log}")


SETTINGS = CheckpointSettings
PARTS: Mapping[str, Part] = {"stall": measure_stall, "lost_work": measure_lost_work}
