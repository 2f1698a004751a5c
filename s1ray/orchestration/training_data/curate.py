"""Select the training set; models that judge difficulty run on the evaluation replicas."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from s1ray.chat_format import encode
from s1ray.config.curation import RayScreeningConfig
from s1ray.config.recipe import Recipe
from s1ray.curation.card import describe_card, render_card
from s1ray.curation.choice.difficulty import find_pass_rate
from s1ray.curation.curate import CountTokens, Curation, check_enough, choose
from s1ray.curation.funnel import Funnel, FunnelRecorder
from s1ray.curation.pool.item_file import ItemFile
from s1ray.curation.pool.items import PoolItem, ProtectedQuestion, Rejection
from s1ray.curation.pool.sources import Pool, fingerprint_pool
from s1ray.curation.screening.findings import PoolFindings
from s1ray.curation.screening.screening import (
    CurationRules,
    ScreeningJudges,
    judge_in_turn,
    sift_pool,
)
from s1ray.curation.screening.survey import Surveyor
from s1ray.curation.traces import format_traces
from s1ray.model_source.model_directory import load_tokenizer
from s1ray.orchestration.answering.questions import QuestionSet, read_questions
from s1ray.orchestration.cluster.session import ray_session
from s1ray.orchestration.dashboard.datasets import declare_dataset
from s1ray.orchestration.models import PreparedModel, prepare_model
from s1ray.orchestration.run_directory.runs import RefusedError, Run, write_atomically, write_json
from s1ray.orchestration.stage import name_stage, open_stage, show_finished
from s1ray.orchestration.steps import Step, describe_step
from s1ray.orchestration.terminal import say
from s1ray.orchestration.training_data.domains import find_labels, prepare_diversity
from s1ray.orchestration.training_data.judges import (
    PreparedJudges,
    describe_difficulty,
    describe_judges,
    prepare_judges,
)
from s1ray.orchestration.training_data.opinions import Judged, judge_questions
from s1ray.orchestration.training_data.pool_survey import survey_pool

SELECTED = "selected.jsonl"
REJECTED = "rejected.jsonl"
FUNNEL = "funnel.json"
CARD = "card.json"
CARD_PAGE = "card.md"
DIFFICULTY = "difficulty.jsonl"
"""Each question's pass rate and thinking tokens, where models judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurationPlan:
    """One curation, checked and named; nothing has been started."""

    recipe: Recipe
    run: Run
    model: PreparedModel | None
    """Counts tokens; None where nobody counts any."""
    judges: PreparedJudges
    """Who judges difficulty; empty for nobody."""
    protected: QuestionSet

    def list_steps(self) -> list[Step]:
        """Return the curation; a judging model's answers are a run that it begins itself."""
        judges = ", ".join(self.judges)
        judged = f"; {judges} first answer(s) every screened question" if judges else ""
        unused = _name_unused_difficulty(self.recipe)
        judged += f"; {unused}" if unused else ""
        sources = len(self.recipe.pool.sources)
        return [describe_step(self.run, cost=f"{sources} source(s) of questions{judged}")]


def prepare_curate(recipe: Recipe) -> CurationPlan:
    """Check and name a curation.

    Raises:
        ValueError: A source, a benchmark, labels or a model that judges cannot be had.
    """
    difficulty, selection = recipe.difficulty, recipe.selection
    needs_model = selection.length == "thinking_tokens"
    model = prepare_model(recipe.model, recipe.paths) if needs_model else None
    judges = prepare_judges(recipe)
    diversity = prepare_diversity(recipe.diversity)
    # The pool first: a benchmark's path may be given by the pool's, and a wrong one is the pool's.
    pool_data = fingerprint_pool(recipe.pool)
    protected = read_questions(recipe)
    identity = {
        # Where its files lie changes nothing; their content is hashed.
        "pool": recipe.pool.model_dump(mode="json", exclude={"root"}),
        "pool_data": pool_data,
        "protected": protected.digest(),
        "decontamination": recipe.decontamination.model_dump(mode="json"),
        "quality": recipe.quality.model_dump(mode="json"),
        "difficulty": describe_difficulty(difficulty) if selection.after_difficulty else None,
        "judges": describe_judges(recipe, judges),
        "model": model and model.describe(),
        "diversity": diversity,
        "selection": selection.model_dump(mode="json"),
    }
    run = name_stage(recipe, stage="curate", slug=recipe.name, identity=identity)
    return CurationPlan(recipe=recipe, run=run, model=model, judges=judges, protected=protected)


def _name_unused_difficulty(recipe: Recipe) -> str | None:
    """Return that difficulty drops nothing, where one is chosen and selection does without it."""
    difficulty, selection = recipe.difficulty, recipe.selection
    if selection.after_difficulty or difficulty.kind == "none":
        return None
    return (
        f"difficulty.kind={difficulty.kind} drops nothing, as selection.kind={selection.kind} has "
        "selection.after_difficulty=false; true applies it"
    )


def run_curate(plan: CurationPlan) -> Path:
    """Run every step from pool to selection and return the run's directory.

    Raises:
        RefusedError: The pool's rows are no good, or too few; or another job holds the run.
    """
    run, recipe = plan.run, plan.recipe
    unused = _name_unused_difficulty(recipe)
    if unused is not None:
        say(f"  {unused}")
    if run.is_finished:
        show_finished(run, recipe)
        return run.path
    with (
        open_stage(run, recipe) as stage,
        (run.path / REJECTED).open("w", encoding="utf-8") as rejected,
    ):
        curation = _curate(plan, recorder=FunnelRecorder(reject=_write_to(rejected)))
        write_atomically(run.path / SELECTED, format_traces(curation.selected))
        write_json(run.path / FUNNEL, dict(curation.funnel.describe()))
        card = describe_card(
            curation,
            pool=recipe.pool,
            protected=_list_protected(plan),
            count_tokens=_count_tokens(plan),
            unit="words" if plan.model is None else "tokens",
        )
        write_json(run.path / CARD, card)
        write_atomically(run.path / CARD_PAGE, render_card(card, title=run.name))
        facts = {"num_questions": len(curation.selected), "stand_ins": card["stand_ins"]}
        declare_dataset(run, files=[SELECTED, FUNNEL, CARD], facts=facts)
        stage.files += [SELECTED, REJECTED, FUNNEL, CARD, CARD_PAGE]
        stage.files += [DIFFICULTY] if plan.judges else []
        stage.summary["num_selected"] = len(curation.selected)
    _say_steps(curation.funnel)
    return run.path


def _say_steps(funnel: Funnel) -> None:
    for step in funnel.steps:
        why = ", ".join(f"{name} {count}" for name, count in step.reasons)
        say(f"  {step.name:<14} {step.num_in:>7} -> {step.num_out:>7}  {why}")


@contextmanager
def _refuse_pool(recorder: FunnelRecorder) -> Iterator[None]:
    """Call it bad input, not a failure, where the pool is no good for the block's steps.

    The counts of the steps so far are printed.

    Raises:
        RefusedError: It is not.
    """
    try:
        yield
    except RefusedError:
        raise
    except ValueError as error:
        _say_steps(recorder.finish())
        raise RefusedError(str(error)) from error


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
    protected = _list_protected(plan)
    with ExitStack() as stack:

        def keep(items: Iterable[PoolItem]) -> Sequence[PoolItem]:
            return stack.enter_context(closing(ItemFile(items)))

        with _refuse_pool(recorder):
            judges = _judge_pool(plan, protected=protected, stack=stack)
            pool = Pool(recipe.pool)
            screened = keep(sift_pool(pool, judges=judges, rules=rules, recorder=recorder))
            check_enough(len(screened), selection=rules.selection, recorder=recorder)
        # Models are asked outside: what goes wrong there is a failure, and needs its traceback.
        judged = _judge_difficulty(plan, screened)
        labels = find_labels(recipe, screened, verdicts=judged.verdicts)
        with _refuse_pool(recorder):
            return choose(
                screened,
                verdicts=judged.verdicts,
                judged_tokens=judged.mean_tokens() if plan.judges else None,
                labels=labels,
                count_tokens=_count_tokens(plan),
                rules=rules,
                recorder=recorder,
                keep=keep,
            )


def _judge_pool(
    plan: CurationPlan, *, protected: Sequence[ProtectedQuestion], stack: ExitStack
) -> ScreeningJudges:
    """Return the judges of a pool's items: surveyed on Ray Data, or judging in turn."""
    recipe, config = plan.recipe, plan.recipe.decontamination
    if not isinstance(recipe.screening, RayScreeningConfig):
        return judge_in_turn(Pool(recipe.pool), protected=protected, config=config)
    findings = stack.enter_context(
        PoolFindings(protected, config=config, ngrams=Surveyor(protected, config=config).ngrams)
    )
    # Ray warns of how Ray Data starts its own workers, which nobody here can change.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")
    with ray_session(recipe.ray):
        survey_pool(
            recipe.pool,
            protected=protected,
            config=config,
            settings=recipe.screening,
            findings=findings,
        )
    return findings.judge()


def _list_protected(plan: CurationPlan) -> list[ProtectedQuestion]:
    return [
        ProtectedQuestion(
            benchmark=name,
            item=question.id,
            text=question.text,
            is_private=name in plan.protected.private,
        )
        for name, questions in plan.protected.questions.items()
        for question in questions
    ]


def _count_tokens(plan: CurationPlan) -> CountTokens:
    """Return the recipe's own measure of a trace: its model's tokens."""
    if plan.model is None:
        return lambda text: len(text.split())
    tokenizer = load_tokenizer(plan.model.path)
    return lambda text: len(encode(tokenizer, text))


def _judge_difficulty(plan: CurationPlan, items: Sequence[PoolItem]) -> Judged:
    """Ask the judges every question, and write what came of it."""
    if not plan.judges:
        return Judged()
    questions = [item.trace.question for item in items]
    judged = judge_questions(plan.recipe, plan.judges, questions)
    means = judged.mean_tokens()
    rows = (
        {
            "id": question,
            "pass_rates": {name: find_pass_rate(found) for name, found in by_judge.items()},
            "thinking_tokens": means[question],
        }
        for question, by_judge in judged.verdicts.items()
    )
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    write_atomically(plan.run.path / DIFFICULTY, lines)
    return judged
