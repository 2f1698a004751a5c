"""``jobs.distill``: a teacher's reasoning traces for the questions that curation chose.

Every reply is on disk before it is graded, so that a killed job asks only what was not answered.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from s1ray.config.recipe import Recipe
from s1ray.curation.teacher import LeftOut, ask_teacher, make_trace
from s1ray.curation.traces import format_traces, read_trace_questions
from s1ray.generation.budget import BudgetPolicy, expand_policies
from s1ray.generation.chat.asking import ask_all
from s1ray.generation.chat.chat_engine import ChatEngine, ChatReply, ChatRequest
from s1ray.grading.pool import GraderPool, GradingItem
from s1ray.orchestration.answering.judge import open_judge
from s1ray.orchestration.dashboard.datasets import declare_dataset
from s1ray.orchestration.run_directory.events import EventLog
from s1ray.orchestration.run_directory.runs import Run, hash_file, write_atomically, write_json
from s1ray.orchestration.stage import name_stage, open_stage, show_finished
from s1ray.orchestration.steps import Step, describe_step
from s1ray.orchestration.terminal import Bar, say, show_progress
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
from s1ray.records import Question, ReasoningTrace

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
        ValueError: The key or the questions are missing, or the budget is a grid.
    """
    check_endpoint(recipe.endpoint)
    policies = expand_policies(recipe.teacher_budget)
    if len(policies) != 1:
        raise ValueError(
            f"teacher_budget is a grid of {len(policies)} policies "
            f"({', '.join(policy.name for policy in policies)}), and a teacher is asked once. "
            "Give one, such as budget@teacher_budget=natural."
        )
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
        "grading": recipe.grading.model_dump(mode="json", exclude={"pool"}),
    }
    run = name_stage(recipe, stage="distill", slug=recipe.name, identity=identity)
    return DistillPlan(recipe=recipe, run=run, policy=policies[0], curation=curation)


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
        _show_costs(costs)
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


@dataclass(slots=True, kw_only=True)
class _Lessons:
    """What came of the questions so far."""

    traces: dict[str, ReasoningTrace] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    replies: Counter[str] = field(default_factory=Counter)
    cost_usd: float | None = 0.0
    """None from the first reply on whose price is not known."""

    @property
    def reasons(self) -> Counter[str]:
        return Counter(item.reason for item in self.left_out)

    def add(self, key: str, outcome: ReasoningTrace | LeftOut, *, reply: ChatReply) -> None:
        """Take what came of an answered question."""
        self._count(reply)
        if isinstance(outcome, LeftOut):
            self.left_out.append(outcome)
        else:
            self.traces[key] = outcome

    def _count(self, reply: ChatReply) -> None:
        self.replies.update(
            answered=1,
            prompt_tokens=reply.num_prompt_tokens,
            completion_tokens=reply.num_completion_tokens,
            tries=reply.num_tries,
        )
        if reply.cost_usd is None or self.cost_usd is None:
            self.cost_usd = None
        else:
            self.cost_usd += reply.cost_usd

    def describe(self, *, model: str, counters: Mapping[str, float]) -> dict[str, Any]:
        """Return the content of ``costs.json``; tokens and dollars of all replies in use."""
        kept = list(self.traces.values())
        usd_per_trace = self.cost_usd / len(kept) if kept and self.cost_usd is not None else None
        return {
            "teacher": model,
            "answered": self.replies["answered"],
            "asked_now": counters["requests"],
            "remembered": counters["remembered"],
            "not_answered": len(self.errors),
            "tries": self.replies["tries"],
            "prompt_tokens": self.replies["prompt_tokens"],
            "completion_tokens": self.replies["completion_tokens"],
            "cost_usd": self.cost_usd,
            "usd_per_trace": usd_per_trace,
            "traces": len(kept),
            "correct": sum(trace.is_correct is True for trace in kept),
            "incorrect": sum(trace.is_correct is False for trace in kept),
            "left_out": dict(self.reasons.most_common()),
        }


async def _teach(
    plan: DistillPlan, questions: Mapping[str, Question], *, engine: ChatEngine
) -> _Lessons:
    """Ask, grade and sort; every question that is answered is counted as it comes."""
    recipe, lessons = plan.recipe, _Lessons()
    with (
        open_judge(recipe.grading.judge) as judge,
        GraderPool(recipe.grading, judge=judge) as pool,
        EventLog(plan.run.path) as events,
        show_progress("distill", total=len(questions)) as bar,
    ):
        try:
            async for asked in ask_all(
                _list_requests(plan, questions),
                engine=engine,
                max_in_flight=recipe.endpoint.max_concurrency,
                max_consecutive_failures=recipe.distillation.max_consecutive_failures,
            ):
                if asked.reply is None:
                    lessons.errors[asked.key] = str(asked.error)
                    continue
                question, reply = questions[asked.key], asked.reply
                item = GradingItem(
                    text=reply.answer, gold=question.answer, kind=question.answer_kind
                )
                outcome = make_trace(
                    question,
                    reply=reply,
                    graded=await pool.grade(item),
                    teacher=recipe.endpoint.model,
                    config=recipe.distillation,
                )
                lessons.add(asked.key, outcome, reply=reply)
                _report(lessons, events=events, bar=bar)
        finally:
            await engine.close()
    return lessons


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


def _report(lessons: _Lessons, *, events: EventLog, bar: Bar) -> None:
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


def _show_costs(costs: Mapping[str, Any]) -> None:
    price = "price unknown" if costs["cost_usd"] is None else f"{costs['cost_usd']:.4f} USD"
    why = ", ".join(f"{name} {count}" for name, count in costs["left_out"].items())
    say(
        f"  {costs['teacher']}: {costs['answered']} answered ({costs['asked_now']:.0f} asked now, "
        f"{costs['remembered']:.0f} remembered), {costs['completion_tokens']} tokens, {price}"
    )
    say(
        f"  {costs['traces']} traces, {costs['correct']} correct, {costs['incorrect']} incorrect"
        + (f"; left out: {why}" if why else "")
    )
