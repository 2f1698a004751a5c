"""``jobs.distill``: a teacher's reasoning traces for the questions that curation chose.

Every reply is on disk before it is graded, so that a killed job asks only what was not answered.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from s1ray.config.recipe import Recipe
from s1ray.curation.teacher import ask_teacher, make_trace
from s1ray.curation.traces import format_traces, read_trace_questions
from s1ray.generation.budget import BudgetPolicy, expand_one
from s1ray.generation.chat.asking import Asked, ask_all
from s1ray.generation.chat.chat_engine import ChatEngine, ChatReply, ChatRequest
from s1ray.grading.pool import GraderPool, GradingItem
from s1ray.orchestration.answering.evaluation import describe_grading
from s1ray.orchestration.answering.judge import check_judge, open_judge
from s1ray.orchestration.dashboard.datasets import declare_dataset
from s1ray.orchestration.run_directory.events import EventLog
from s1ray.orchestration.run_directory.runs import Run, hash_file, write_atomically, write_json
from s1ray.orchestration.stage import name_stage, open_stage, show_finished
from s1ray.orchestration.steps import Step, describe_step
from s1ray.orchestration.terminal import Bar, show_progress
from s1ray.orchestration.training_data.curate import (
    SELECTED,
    CurationPlan,
    prepare_curate,
    run_curate,
)
from s1ray.orchestration.training_data.endpoints import (
    check_endpoint,
    choose_sampling,
    identify_endpoint,
    remembered_endpoint,
)
from s1ray.orchestration.training_data.lessons import Lessons, show_costs
from s1ray.records import Question

TRACES = "traces.jsonl"
COSTS = "costs.json"
LEFT_OUT = "left_out.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillPlan:
    """One distillation, checked and named; nothing has been asked."""

    recipe: Recipe
    run: Run
    policy: BudgetPolicy
    curation: CurationPlan | None
    """Where the questions come from; None where the recipe names a file."""

    @property
    def questions_path(self) -> Path:
        """The questions, once curation is done."""
        if self.curation is None:
            return Path(str(self.recipe.questions)).expanduser().absolute()
        return self.curation.run.path / SELECTED

    def list_steps(self) -> list[Step]:
        """Return the curation, where there is one, and the distillation."""
        endpoint = self.recipe.endpoint
        limit = "no limit" if endpoint.max_cost_usd is None else f"{endpoint.max_cost_usd} USD"
        before = self.curation.list_steps() if self.curation else []
        cost = f"one request of {endpoint.model} for each question; {limit}"
        return [*before, describe_step(self.run, cost=cost)]


def prepare_distill(recipe: Recipe) -> DistillPlan:
    """Check and name a distillation.

    Raises:
        ValueError: A key or the questions are missing, or the budget is a grid.
    """
    check_endpoint(recipe.endpoint)
    check_judge(recipe.grading)
    policy = expand_one(recipe.teacher_budget, key="teacher_budget")
    if recipe.questions is None:
        curation = prepare_curate(recipe)
        data = curation.run.name.rsplit("-", maxsplit=1)[-1]
    else:
        curation, path = None, Path(recipe.questions).expanduser()
        read_trace_questions(path)
        data = hash_file(path)
    endpoint = recipe.endpoint
    identity = {
        "questions": data,
        "endpoint": identify_endpoint(endpoint),
        "budget": recipe.teacher_budget.model_dump(mode="json"),
        "sampling": recipe.sampling.model_dump(mode="json") if endpoint.sends_sampling else None,
        "distillation": recipe.distillation.model_dump(
            mode="json", exclude={"max_consecutive_failures"}
        ),
        # Said where nobody judges, too, by which earlier distillations are named.
        "grading": {"judge": None, **describe_grading(recipe.grading)},
    }
    run = name_stage(recipe, stage="distill", slug=recipe.name, identity=identity)
    return DistillPlan(recipe=recipe, run=run, policy=policy, curation=curation)


def run_distill(plan: DistillPlan) -> Path:
    """Ask what was never answered, and write traces and costs; return the run's directory.

    Raises:
        RuntimeError: Questions were not answered; a rerun asks only these.
    """
    run, recipe = plan.run, plan.recipe
    if run.is_finished:
        show_finished(run, recipe)
        return run.path
    if plan.curation is not None:
        run_curate(plan.curation)
    questions = {item.id: item for item in read_trace_questions(plan.questions_path)}
    with (
        open_stage(run, recipe) as stage,
        remembered_endpoint(recipe.endpoint, recipe=recipe) as engine,
    ):
        lessons = asyncio.run(_teach(plan, questions, engine=engine))
        costs = lessons.describe(model=recipe.endpoint.model, counters=engine.counters())
        write_json(run.path / COSTS, costs)
        show_costs(costs)
        if lessons.errors:
            raise RuntimeError(
                f"{len(lessons.errors)} of {len(questions)} questions were not answered, the "
                f"first: {next(iter(lessons.errors.values()))} What was answered is kept; run the "
                "same command again to ask the rest."
            )
        kept = [lessons.traces[key] for key in questions if key in lessons.traces]
        if not kept:
            raise RuntimeError(
                f"none of {len(questions)} replies is kept: {dict(lessons.reasons)}. See "
                f"{run.path / COSTS}; loosen distillation, or ask another teacher."
            )
        write_atomically(run.path / TRACES, format_traces(kept))
        write_json(run.path / LEFT_OUT, [asdict(item) for item in lessons.left_out])
        facts = {name: costs[name] for name in ("teacher", "traces", "correct", "cost_usd")}
        declare_dataset(run, files=[TRACES, COSTS], facts=facts)
        stage.files += [TRACES, LEFT_OUT, COSTS]
        stage.summary |= {"num_traces": len(kept), "cost_usd": costs["cost_usd"]}
    return run.path


async def _teach(
    plan: DistillPlan, questions: Mapping[str, Question], *, engine: ChatEngine
) -> Lessons:
    """Ask, grade and sort; every question that is answered is counted as it comes."""
    recipe, lessons = plan.recipe, Lessons()
    with (
        open_judge(recipe.grading.judge) as judge,
        GraderPool(recipe.grading, judge=judge) as pool,
        EventLog(plan.run.path) as events,
        show_progress("distill", total=len(questions)) as bar,
    ):

        async def learn(key: str, reply: ChatReply) -> None:
            question = questions[key]
            item = GradingItem(text=reply.answer, gold=question.answer, kind=question.answer_kind)
            outcome = make_trace(
                question,
                reply=reply,
                graded=await pool.grade(item),
                teacher=recipe.endpoint.model,
                config=recipe.distillation,
            )
            lessons.add(key, outcome, reply=reply)
            _report(lessons, events=events, bar=bar)

        replies = ask_all(
            _list_requests(plan, questions),
            engine=engine,
            max_in_flight=recipe.endpoint.max_concurrency,
            max_consecutive_failures=recipe.distillation.max_consecutive_failures,
        )
        try:
            lessons.errors |= await _learn_all(replies, learn=learn)
        finally:
            await engine.close()
    return lessons


async def _learn_all(
    replies: AsyncIterator[Asked], *, learn: Callable[[str, ChatReply], Coroutine[Any, Any, None]]
) -> dict[str, str]:
    """Learn from replies beside each other, as they come; return why others did not come, by key.

    Where one cannot be graded the rest is asked all the same, since replies are paid and kept.
    """
    errors: dict[str, str] = {}
    gradings: list[asyncio.Task[None]] = []
    try:
        async for asked in replies:
            if asked.reply is None:
                errors[asked.key] = str(asked.error)
            else:
                gradings.append(asyncio.create_task(learn(asked.key, asked.reply)))
        await asyncio.gather(*gradings)
    finally:
        for grading in gradings:
            grading.cancel()
        await asyncio.gather(*gradings, return_exceptions=True)
    return errors


def _list_requests(plan: DistillPlan, questions: Mapping[str, Question]) -> dict[str, ChatRequest]:
    """Return what the teacher is asked, by question id."""
    recipe = plan.recipe
    return {
        key: ask_teacher(
            question,
            policy=plan.policy,
            sampling=choose_sampling(recipe.sampling, seed=recipe.distillation.seed),
            system_prompt=recipe.distillation.system_prompt,
        )
        for key, question in questions.items()
    }


def _report(lessons: Lessons, *, events: EventLog, bar: Bar) -> None:
    answered = lessons.replies["answered"]
    events.append(
        answered,
        {
            "distill/completion_tokens": lessons.replies["completion_tokens"],
            "distill/cost_usd": lessons.cost_usd,
            "distill/traces": len(lessons.traces),
        },
    )
    cost = "" if lessons.cost_usd is None else f", {lessons.cost_usd:.2f} USD"
    bar.advance_to(answered, f"{len(lessons.traces)} traces{cost}")
