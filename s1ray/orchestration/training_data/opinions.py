"""What models say of a pool's questions: who solves them, and what subject each belongs to.

Models that run here answer on the evaluation replicas, others behind their endpoints; either way an
answer that is there is never asked for again. The rules that use them stand in ``curation``.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from s1ray.config.curation import (
    DifficultyConfig,
    EndpointJudgeConfig,
    EngineJudgeConfig,
    ModelsDifficultyConfig,
    SubjectsDiversityConfig,
)
from s1ray.config.generation import EndpointConfig
from s1ray.config.recipe import Recipe
from s1ray.curation.choice.diversity import UNREAD, ask_subject, read_subject
from s1ray.evaluation.samples import derive_seed
from s1ray.evaluation.store import SAMPLES, read_samples
from s1ray.generation.budget import BudgetPolicy, expand_policies
from s1ray.generation.chat.asking import Asked, ask_all
from s1ray.generation.chat.chat_engine import ChatRequest, Message
from s1ray.grading.pool import GraderPool, GradingItem
from s1ray.orchestration.answering.evaluation import (
    describe_answering,
    describe_grading,
    plan_evaluation,
    run_evaluation,
)
from s1ray.orchestration.answering.judge import check_judge, open_judge
from s1ray.orchestration.answering.questions import QuestionSet
from s1ray.orchestration.models import PreparedModel, prepare_model
from s1ray.orchestration.terminal import say, show_progress
from s1ray.orchestration.training_data.endpoints import (
    check_endpoint,
    choose_sampling,
    identify_endpoint,
    remembered_endpoint,
)
from s1ray.records import Question, Verdict


@dataclass(slots=True, kw_only=True)
class Judged:
    """What the judges' answers came to."""

    verdicts: dict[str, dict[str, list[Verdict]]] = field(default_factory=dict)
    """By question id and judge."""
    tokens: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """By question id, how many tokens of thinking each answer took."""

    def add(self, question: str, *, judge: str, verdict: Verdict, num_tokens: int) -> None:
        """Take one answer.

        Args:
            question: Its id.
            judge: Whose answer it is.
            verdict: On it.
            num_tokens: Of thinking.
        """
        self.verdicts.setdefault(question, {}).setdefault(judge, []).append(verdict)
        self.tokens[question].append(num_tokens)

    def mean_tokens(self) -> dict[str, int]:
        """Return each question's mean tokens of thinking, rounded."""
        return {key: round(sum(found) / len(found)) for key, found in self.tokens.items()}


PreparedJudges = Mapping[str, PreparedModel | EndpointConfig]


def prepare_judges(recipe: Recipe) -> PreparedJudges:
    """Fetch the judges' models and check their endpoints; empty where no model judges.

    Raises:
        ValueError: One cannot be had, or cannot be asked as often as is wanted.
    """
    config = recipe.difficulty
    if not isinstance(config, ModelsDifficultyConfig) or not recipe.selection.after_difficulty:
        return {}
    check_judge(config.grading)
    prepared: dict[str, PreparedModel | EndpointConfig] = {}
    for name, judge in config.judges.items():
        if isinstance(judge, EndpointJudgeConfig):
            _check_judge(name, judge.endpoint, num_samples=config.num_samples)
            prepared[name] = judge.endpoint
        else:
            model = judge.model if isinstance(judge, EngineJudgeConfig) else recipe.model
            prepared[name] = prepare_model(model, recipe.paths)
    return prepared


def _check_judge(name: str, endpoint: EndpointConfig, *, num_samples: int) -> None:
    check_endpoint(endpoint)
    if num_samples > 1 and not endpoint.sends_sampling:
        raise ValueError(
            f"difficulty.num_samples={num_samples}, and the endpoint of judge {name} takes no "
            f"seed, so that every sample would be the same. Set difficulty.num_samples=1, or "
            f"difficulty.judges.{name}.endpoint.sends_sampling=true where it takes one."
        )


def describe_difficulty(config: DifficultyConfig) -> dict[str, Any]:
    """Return how difficulty is judged, but not by whom, for a run's identity."""
    if not isinstance(config, ModelsDifficultyConfig):
        return config.model_dump(mode="json")
    asked = config.model_dump(mode="json", exclude={"judges", "grading"})
    return {**asked, "grading": describe_grading(config.grading)}


def describe_judges(recipe: Recipe, judges: PreparedJudges) -> dict[str, Any]:
    """Return what of the judges changes their verdicts, for a run's identity."""
    config = recipe.difficulty
    if not isinstance(config, ModelsDifficultyConfig):
        return {}
    return {
        name: judge.describe() | describe_answering(_compose_judge(recipe, config, name))
        if isinstance(judge, PreparedModel)
        else identify_endpoint(judge)
        for name, judge in judges.items()
    }


def _compose_judge(recipe: Recipe, config: ModelsDifficultyConfig, name: str) -> Recipe:
    """Return the recipe by which a model that runs here judges."""
    runtime = {"num_samples": config.num_samples, "seed": config.seed}
    changes: dict[str, Any] = {
        "evaluation": recipe.evaluation.model_copy(update=runtime),
        "sampling": config.sampling,
        "grading": config.grading,
    }
    judge = config.judges[name]
    if isinstance(judge, EngineJudgeConfig):
        changes |= {"model": judge.model, "engine": judge.engine}
    return recipe.model_copy(update=changes)


def judge_questions(
    recipe: Recipe, judges: PreparedJudges, questions: Sequence[Question]
) -> Judged:
    """Ask every judge every question; each judge's answers are kept, so that a rerun goes on."""
    judged = Judged()
    for name, judge in judges.items():
        if isinstance(judge, PreparedModel):
            _ask_replicas(recipe, name, judge, questions, judged=judged)
        else:
            _ask_endpoint(recipe, name, judge, questions, judged=judged)
    return judged


def _ask_replicas(
    recipe: Recipe,
    name: str,
    model: PreparedModel,
    questions: Sequence[Question],
    *,
    judged: Judged,
) -> None:
    """Let a model answer as an evaluation run of its own."""
    config = recipe.difficulty
    assert isinstance(config, ModelsDifficultyConfig)
    evaluation = plan_evaluation(
        _compose_judge(recipe, config, name),
        model=model,
        label="difficulty",
        questions=QuestionSet(questions={"pool": questions}, private=frozenset(), notes=()),
        budget=config.budget,
    )
    for sample in read_samples(run_evaluation(evaluation) / SAMPLES):
        judged.add(
            sample.task.item,
            judge=name,
            verdict=sample.graded.verdict,
            num_tokens=sample.completion.num_thinking_tokens,
        )


def _ask_endpoint(
    recipe: Recipe,
    name: str,
    endpoint: EndpointConfig,
    questions: Sequence[Question],
    *,
    judged: Judged,
) -> None:
    config = recipe.difficulty
    assert isinstance(config, ModelsDifficultyConfig)
    by_key = {
        f"{question.id}/{sample}": question
        for question in questions
        for sample in range(config.num_samples)
    }
    policy = expand_policies(config.budget)[0]
    requests = {
        key: _pose(question, config=config, policy=policy, sample=int(key.rpartition("/")[2]))
        for key, question in by_key.items()
    }
    answers = asyncio.run(_converse(recipe, endpoint, requests, title=f"difficulty {name}"))
    items = (_hand_in(by_key[key], asked) for key, asked in answers.items())
    with (
        open_judge(config.grading.judge) as referee,
        GraderPool(config.grading, judge=referee) as pool,
    ):
        verdicts = pool.grade_all(items, max_pending=recipe.count_in_flight())
        for (key, asked), graded in zip(answers.items(), verdicts, strict=True):
            reply = asked.reply
            assert reply is not None
            num_tokens = reply.num_thinking_tokens
            judged.add(
                by_key[key].id,
                judge=name,
                verdict=graded.verdict,
                num_tokens=reply.num_completion_tokens if num_tokens is None else num_tokens,
            )


def _hand_in(question: Question, asked: Asked) -> GradingItem:
    assert asked.reply is not None
    return GradingItem(text=asked.reply.answer, gold=question.answer, kind=question.answer_kind)


def _pose(
    question: Question, *, config: ModelsDifficultyConfig, policy: BudgetPolicy, sample: int
) -> ChatRequest:
    """Return what a judge behind an endpoint is asked for one sample of its answers."""
    seed = derive_seed(config.seed, benchmark="pool", item=question.id, sample=sample)
    return ChatRequest(
        messages=(Message(role="user", content=question.text + policy.instruction),),
        policy=policy,
        sampling=choose_sampling(config.sampling, seed=seed),
    )


async def _converse(
    recipe: Recipe, endpoint: EndpointConfig, requests: Mapping[str, ChatRequest], *, title: str
) -> dict[str, Asked]:
    """Return every request's reply, in the order of the requests.

    Raises:
        RuntimeError: One was not answered; what was answered is kept.
    """
    answers: dict[str, Asked] = {}
    with (
        remembered_endpoint(endpoint, recipe=recipe) as engine,
        show_progress(title, total=len(requests)) as bar,
    ):
        try:
            async for asked in ask_all(
                requests,
                engine=engine,
                max_in_flight=endpoint.max_concurrency,
                max_consecutive_failures=recipe.distillation.max_consecutive_failures,
            ):
                answers[asked.key] = asked
                bar.advance_to(len(answers), endpoint.model)
        finally:
            await engine.close()
    failed = [asked.error for asked in answers.values() if asked.error is not None]
    if failed:
        raise RuntimeError(
            f"{len(failed)} of {len(requests)} requests of {title} were not answered, the first: "
            f"{failed[0]} What was answered is kept; run the same command again to ask the rest."
        )
    return {key: answers[key] for key in requests}


def name_subjects(
    recipe: Recipe, config: SubjectsDiversityConfig, questions: Sequence[Question]
) -> dict[str, str]:
    """Return each question's subject, as a model reads it."""
    policy = expand_policies(recipe.teacher_budget)[0]
    requests = {
        question.id: ChatRequest(
            messages=(Message(role="user", content=ask_subject(question.text, config=config)),),
            policy=policy,
            sampling=choose_sampling(recipe.sampling, seed=recipe.distillation.seed),
        )
        for question in questions
    }
    answers = asyncio.run(_converse(recipe, config.endpoint, requests, title="subjects"))
    subjects = {
        key: read_subject(asked.reply.answer if asked.reply else "", subjects=config.subjects)
        for key, asked in answers.items()
    }
    num_unread = sum(subject is None for subject in subjects.values())
    if num_unread:
        say(f"  {num_unread} of {len(subjects)} replies name no subject: domain {UNREAD!r}")
    return {key: subject or UNREAD for key, subject in subjects.items()}
