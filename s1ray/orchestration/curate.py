"""Select the training set; models that judge difficulty run on the evaluation replicas."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from s1ray.chat_format import encode
from s1ray.config.curation import (
    DiversityConfig,
    LabelsDiversityConfig,
    ModelsDifficultyConfig,
)
from s1ray.config.recipe import Recipe
from s1ray.curation.card import describe_card, render_card
from s1ray.curation.curate import CountTokens, Curation, choose
from s1ray.curation.difficulty import Verdicts
from s1ray.curation.files import read_labels
from s1ray.curation.funnel import FunnelRecorder
from s1ray.curation.items import PoolItem, ProtectedQuestion, Rejection
from s1ray.curation.screening import CurationRules, screen_pool
from s1ray.curation.sources import fingerprint_pool, read_pool
from s1ray.curation.traces import format_traces
from s1ray.evaluation.store import read_samples
from s1ray.model_source.model_directory import load_tokenizer
from s1ray.orchestration.evaluation import plan_evaluation, run_evaluation
from s1ray.orchestration.models import PreparedModel, prepare_model
from s1ray.orchestration.questions import QuestionSet, read_questions
from s1ray.orchestration.runs import Run, write_atomically, write_json
from s1ray.orchestration.stage import name_stage, open_stage
from s1ray.orchestration.terminal import say
from s1ray.orchestration.tracking import SAMPLES

SELECTED = "selected.jsonl"
REJECTED = "rejected.jsonl"
FUNNEL = "funnel.json"
CARD = "card.json"
JUDGE = "base"
"""The name under which the recipe's own model judges difficulty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurationPlan:
    """One curation, checked and named; nothing has been started."""

    recipe: Recipe
    run: Run
    model: PreparedModel | None
    """Judges difficulty and counts tokens; None where the recipe needs neither."""
    is_judged: bool
    """Whether the model judges difficulty."""
    protected: QuestionSet


def prepare_curate(recipe: Recipe) -> CurationPlan:
    """Check and name a curation.

    Raises:
        ValueError: A source, a benchmark or the judging model cannot be had.
    """
    difficulty, selection = recipe.difficulty, recipe.selection
    is_judged = isinstance(difficulty, ModelsDifficultyConfig) and selection.after_difficulty
    judges = difficulty.models if isinstance(difficulty, ModelsDifficultyConfig) else (JUDGE,)
    if is_judged and judges != (JUDGE,):
        raise ValueError(
            f"difficulty.models={list(judges)}: only [{JUDGE}], the recipe's own model, can judge "
            "here. Set difficulty=base_model, or difficulty=none."
        )
    needs_model = is_judged or selection.length == "thinking_tokens"
    model = prepare_model(recipe.model, recipe.paths) if needs_model else None
    protected = read_questions(recipe)
    identity = {
        "pool": recipe.pool.model_dump(mode="json"),
        "pool_data": fingerprint_pool(recipe.pool),
        "protected": protected.digest(),
        "decontamination": recipe.decontamination.model_dump(mode="json"),
        "quality": recipe.quality.model_dump(mode="json"),
        "difficulty": difficulty.model_dump(mode="json"),
        "model": model and model.describe(),
        "budget": recipe.difficulty_budget.model_dump(mode="json") if is_judged else None,
        "diversity": recipe.diversity.model_dump(mode="json"),
        "selection": selection.model_dump(mode="json"),
    }
    run = name_stage(recipe, stage="curate", slug=recipe.name, identity=identity)
    return CurationPlan(
        recipe=recipe, run=run, model=model, is_judged=is_judged, protected=protected
    )


def run_curate(plan: CurationPlan) -> Path:
    """Run every step from pool to selection and return the run's directory."""
    run, recipe = plan.run, plan.recipe
    if run.is_finished:
        say(f"curate: {run.name} is finished already")
        return run.path
    with (
        open_stage(run, recipe) as stage,
        (run.path / REJECTED).open("w", encoding="utf-8") as rejected,
    ):
        curation = _curate(plan, recorder=FunnelRecorder(reject=_write_to(rejected)))
        write_atomically(run.path / SELECTED, format_traces(curation.selected))
        write_json(run.path / FUNNEL, describe_curation(curation))
        card = describe_card(
            curation,
            pool=recipe.pool,
            protected=_list_protected(plan),
            count_tokens=_count_tokens(plan),
        )
        write_json(run.path / CARD, card)
        write_atomically(run.path / "card.md", render_card(card, title=run.name))
        stage.files += [SELECTED, REJECTED, FUNNEL, CARD]
        stage.summary["num_selected"] = len(curation.selected)
    for step in curation.funnel.steps:
        why = ", ".join(f"{name} {count}" for name, count in step.reasons)
        say(f"  {step.name:<14} {step.num_in:>7} -> {step.num_out:>7}  {why}")
    return run.path


def _write_to(file: TextIO) -> Callable[[Rejection], None]:
    def write(rejection: Rejection) -> None:
        file.write(json.dumps(asdict(rejection), ensure_ascii=False) + "\n")

    return write


def _curate(plan: CurationPlan, *, recorder: FunnelRecorder) -> Curation:
    recipe = plan.recipe
    rules = CurationRules(
        max_duplicate_fraction=recipe.pool.max_duplicate_fraction,
        decontamination=recipe.decontamination,
        quality=recipe.quality,
        difficulty=recipe.difficulty,
        diversity=recipe.diversity,
        selection=recipe.selection,
    )
    pool = read_pool(recipe.pool)
    screened = list(
        screen_pool(pool, protected=_list_protected(plan), rules=rules, recorder=recorder)
    )
    return choose(
        screened,
        verdicts=_judge_difficulty(plan, screened),
        labels=_read_labels(recipe.diversity),
        count_tokens=_count_tokens(plan),
        rules=rules,
        recorder=recorder,
    )


def _list_protected(plan: CurationPlan) -> list[ProtectedQuestion]:
    return [
        ProtectedQuestion(benchmark=name, item=question.id, text=question.text)
        for name, questions in plan.protected.questions.items()
        for question in questions
    ]


def _count_tokens(plan: CurationPlan) -> CountTokens:
    """Return the recipe's own measure of a trace: its model's tokens."""
    if plan.model is None:
        return lambda text: len(text.split())
    tokenizer = load_tokenizer(plan.model.path)
    return lambda text: len(encode(tokenizer, text))


def _read_labels(config: DiversityConfig) -> dict[str, str] | None:
    """Return domains by question id from the file that the configuration names, if any."""
    if not isinstance(config, LabelsDiversityConfig):
        return None
    return read_labels(Path(config.path).expanduser())


def _judge_difficulty(plan: CurationPlan, items: Sequence[PoolItem]) -> Verdicts:
    """Ask the judging model every question, as an evaluation run of its own."""
    if plan.model is None or not plan.is_judged:
        return {}
    evaluation = plan_evaluation(
        plan.recipe,
        model=plan.model,
        label="difficulty",
        questions=QuestionSet(
            questions={"pool": [item.trace.question for item in items]}, private=frozenset()
        ),
        budget=plan.recipe.difficulty_budget,
    )
    samples = read_samples(run_evaluation(evaluation) / SAMPLES)
    return {sample.task.item: {JUDGE: sample.graded.verdict} for sample in samples}


def describe_curation(curation: Curation) -> dict[str, Any]:
    """Return the content of ``funnel.json``."""
    return dict(curation.funnel.describe())
