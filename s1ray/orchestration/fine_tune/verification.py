"""``jobs.verify_resume``: a fine-tune that is killed and goes on, held against one that was not.

Everything is real: processes of their own, SIGKILL, the recipe's own model, data and checkpoints.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from s1ray.config.recipe import Recipe
from s1ray.orchestration.fine_tune.interruption import TrainingProcess, start_training
from s1ray.orchestration.fine_tune.train import TrainPlan, prepare_train
from s1ray.orchestration.fine_tune.train_worker import START, fit_sharding
from s1ray.orchestration.run_directory.runs import RefusedError, Run, write_json
from s1ray.orchestration.stage import name_stage, open_stage
from s1ray.orchestration.terminal import complain, say, show_table
from s1ray.orchestration.training_data.curate import run_curate
from s1ray.training.checkpoints.difference import Comparison, compare_states
from s1ray.training.checkpoints.restoration import read_checkpoint
from s1ray.training.checkpoints.search import find_newest_checkpoint
from s1ray.training.fine_tune import CHECKPOINTS

RESULTS = "results.json"
_EXIT_DIFFERENT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationPlan:
    """What is going to be killed; nothing has been started."""

    recipe: Recipe
    run: Run
    training: TrainPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One interruption."""

    name: str
    killed_after: int
    """The last step whose checkpoint was committed."""
    num_workers_before: int
    num_workers_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """How a run ended that was interrupted."""

    case: Case
    num_steps: int
    went_on_after: int
    comparison: Comparison

    @property
    def is_good(self) -> bool:
        """Whether it went on from where it was killed and ended as it should."""
        return self.went_on_after == self.case.killed_after and self.comparison.first is None

    def explain(self) -> str:
        """Return how it ended beside the uninterrupted run."""
        compared = self.comparison
        if not self.is_good:
            return f"DIFFERENT: {compared.first or 'it went on from elsewhere'}"
        return "bit-equal" if compared.is_bit_equal else f"within {compared.largest:.1e}"

    def describe(self) -> dict[str, str]:
        """Return its row of the table."""
        case = self.case
        before, after = case.num_workers_before, case.num_workers_after
        return {
            "killed": case.name,
            "steps": f"{case.killed_after} + kill + {self.num_steps - case.killed_after}",
            "workers": str(before) if before == after else f"{before}, then {after}",
            "went on after": f"step {self.went_on_after}",
            "result": self.explain() if self.is_good else "DIFFERENT, see above",
        }


def prepare_verification(recipe: Recipe) -> VerificationPlan:
    """Check that there is something to interrupt.

    Raises:
        ValueError: The recipe cannot be trained, or a case cannot be made of it.
    """
    other, own = recipe.verification.other_num_workers, recipe.sharding.num_workers
    if other == own:
        raise ValueError(
            f"verification.other_num_workers={other} is sharding.num_workers too. Set it to "
            f"another count, for example {1 if own > 1 else 2}."
        )
    if (recipe.training.num_epochs or 0) < 2:
        raise ValueError(
            f"training.num_epochs={recipe.training.num_epochs} has no boundary between two epochs "
            "to be killed at. Set it to 2 or more."
        )
    training = prepare_train(recipe)
    run = name_stage(
        recipe,
        stage="verify_resume",
        slug=recipe.name,
        identity={"training": training.run.name, "num_workers": [own, other]},
    )
    return VerificationPlan(recipe=recipe, run=run, training=training)


def run_verification(plan: VerificationPlan) -> Path:
    """Interrupt a run in every way, say how each ended, and return the directory of all of it.

    Raises:
        SystemExit: With 1, where a run ended differently; the first difference has been printed.
    """
    run, training = plan.run, plan.training
    if training.curation is not None:
        run_curate(training.curation)
    recipe = _settle(plan.recipe, traces=training.traces_path)
    with open_stage(run, recipe, is_starting_over=True) as stage:
        _clear(run.path)
        reference = _train_whole(recipe, run.path / "uninterrupted")
        facts = json.loads((reference / START).read_text(encoding="utf-8"))
        results = []
        for case in list_cases(recipe, num_steps=facts["num_steps"]):
            results.append(_interrupt(recipe, case, reference=reference, path=run.path))
            tell = say if results[-1].is_good else complain
            tell(f"    {results[-1].explain()}")
        write_json(run.path / RESULTS, [asdict(r) | {"is_good": r.is_good} for r in results])
        stage.files.append(RESULTS)
        compared = results[0].comparison
        show_table(
            f"Against the run that was not killed: {compared.num_tensors} tensors of weights and "
            f"moments, {compared.num_numbers:,} numbers",
            [result.describe() for result in results],
        )
        if not all(result.is_good for result in results):
            complain(f"failed: a resumed run ended differently; see {run.path}")
            raise SystemExit(_EXIT_DIFFERENT)
    return run.path


def _settle(recipe: Recipe, *, traces: Path) -> Recipe:
    """Return the recipe with its traces at hand and nobody listening."""
    tracking = recipe.tracking.model_copy(update={"mode": "disabled"})
    checkpoint = recipe.checkpoint.model_copy(
        update={"resume": "auto", "max_lost_seconds": None, "keep_permanent": None}
    )
    return recipe.model_copy(
        update={"traces": str(traces), "tracking": tracking, "checkpoint": checkpoint}
    )


def _clear(path: Path) -> None:
    """Remove the runs of an earlier verification."""
    for old in path.iterdir():
        if old.is_dir():
            shutil.rmtree(old)


def list_cases(recipe: Recipe, *, num_steps: int) -> tuple[Case, ...]:
    """Return the interruptions of a run of so many steps.

    Raises:
        RefusedError: Every step ends an epoch.
    """
    own, other = recipe.sharding.num_workers, recipe.verification.other_num_workers
    num_epochs = recipe.training.num_epochs
    assert num_epochs is not None  # checked before anything was started
    epoch = num_steps // num_epochs
    if epoch < 2:
        raise RefusedError(
            f"training.global_batch_size={recipe.training.global_batch_size} makes every step end "
            "an epoch, so none can be interrupted. Lower it."
        )
    boundary = epoch * (num_epochs // 2)
    wanted = (
        ("at an epoch boundary", boundary, own),
        ("in mid-epoch", boundary - 1, own),
        ("on another world size", boundary - 1, other),
    )
    return tuple(
        Case(name=name, killed_after=step, num_workers_before=own, num_workers_after=after)
        for name, step, after in wanted
    )


def _train_whole(recipe: Recipe, path: Path) -> Path:
    say("  training without an interruption")
    process = _start(recipe, path, num_workers=recipe.sharding.num_workers, pause_after=None)
    return _finish(process, recipe)


def _interrupt(recipe: Recipe, case: Case, *, reference: Path, path: Path) -> CaseResult:
    say(f"  {case.name}: SIGKILL in step {case.killed_after + 1}, then the same command")
    path = path / case.name.replace(" ", "_")
    saving = recipe.checkpoint.model_copy(update={"permanent_every_steps": case.killed_after})
    recipe = recipe.model_copy(update={"checkpoint": saving})
    first = _start(recipe, path, num_workers=case.num_workers_before, pause_after=case.killed_after)
    try:
        first.wait_for_pause(timeout_seconds=recipe.verification.timeout_seconds)
    finally:
        first.kill()
    second = _start(recipe, path, num_workers=case.num_workers_after, pause_after=None)
    resumed = _finish(second, recipe)
    facts = json.loads((resumed / START).read_text(encoding="utf-8"))
    is_same_size = case.num_workers_before == case.num_workers_after
    limits = recipe.verification
    comparison = compare_states(
        _read_last(reference, recipe),
        _read_last(resumed, recipe),
        absolute_tolerance=0.0 if is_same_size else limits.absolute_tolerance,
        relative_tolerance=0.0 if is_same_size else limits.relative_tolerance,
    )
    return CaseResult(
        case=case,
        num_steps=facts["num_steps"],
        went_on_after=facts["step"],
        comparison=comparison,
    )


def _start(
    recipe: Recipe, path: Path, *, num_workers: int, pause_after: int | None
) -> TrainingProcess:
    paths = recipe.paths.model_copy(update={"storage": str(path)})
    sharding = fit_sharding(recipe.sharding, num_workers=num_workers)
    recipe = recipe.model_copy(update={"paths": paths, "sharding": sharding})
    return start_training(recipe, log=path / "log.txt", pause_after=pause_after)


def _finish(process: TrainingProcess, recipe: Recipe) -> Path:
    try:
        process.wait(timeout_seconds=recipe.verification.timeout_seconds)
    finally:
        process.kill()
    return process.run_path


def _read_last(run_path: Path, recipe: Recipe) -> dict[str, Any]:
    search = find_newest_checkpoint(
        run_path / CHECKPOINTS, num_threads=recipe.checkpoint.verify_threads
    )
    if search.newest is None:
        raise RuntimeError(f"{run_path} has ended without a good checkpoint.")
    return read_checkpoint(Path(search.newest.path))
