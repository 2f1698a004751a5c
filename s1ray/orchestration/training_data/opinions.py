"""What models say of a pool's questions: who solves them, and how long each thought.

Models that run here answer on the evaluation replicas, others behind their endpoints; either way an
answer that is there is never asked for again. The rules that use them stand in ``curation``.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from s1ray.config.curation import ModelsDifficultyConfig
from s1ray.config.generation import EndpointConfig
from s1ray.config.recipe import Recipe
from s1ray.evaluation.samples import derive_seed
from s1ray.evaluation.store import SAMPLES, read_samples
from s1ray.generation.budget import BudgetPolicy, expand_one
from s1ray.generation.chat.asking import Asked, ask_all
from s1ray.generation.chat.chat_engine import ChatRequest, Message
from s1ray.grading.pool import GraderPool, GradingItem
from s1ray.orchestration.answering.evaluation import plan_evaluation, run_evaluation
from s1ray.orchestration.answering.judge import open_judge
from s1ray.orchestration.answering.questions import QuestionSet
from s1ray.orchestration.models import PreparedModel
from s1ray.orchestration.terminal import show_progress
from s1ray.orchestration.training_data.endpoints import choose_sampling, remembered_endpoint
from s1ray.orchestration.training_data.judges import PreparedJudges, compose_judge
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
        compose_judge(recipe, config, name),
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
    policy = expand_one(config.budget, key="difficulty.budget")
    requests = {
        key: _pose(question, config=config, policy=policy, sample=int(key.rpartition("/")[2]))
        for key, question in by_key.items()
    }
    answers = asyncio.run(converse(recipe, endpoint, requests, title=f"difficulty {name}"))
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


async def converse(
    recipe: Recipe, endpoint: EndpointConfig, requests: Mapping[str, ChatRequest], *, title: str
) -> dict[str, Asked]:
    """Return every request's reply, in the order of the requests.

    Args:
        recipe: Where replies are kept, and how many failures in a row are borne.
        endpoint: Who is asked.
        requests: By the key of the reply.
        title: What it is about, for whoever waits.

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
