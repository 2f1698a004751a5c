"""Where a question's domain is looked up: in a file of labels, or by asking a model its subject."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from s1ray.config.curation import (
    DiversityConfig,
    LabelsDiversityConfig,
    SubjectsDiversityConfig,
)
from s1ray.config.recipe import Recipe
from s1ray.curation.choice.difficulty import Verdicts, judge_difficulty
from s1ray.curation.choice.diversity import UNREAD, ask_subject, read_subject
from s1ray.curation.choice.labels import read_labels
from s1ray.curation.pool.items import PoolItem
from s1ray.generation.budget import expand_one
from s1ray.generation.chat.chat_engine import ChatRequest, Message
from s1ray.orchestration.run_directory.runs import hash_file
from s1ray.orchestration.terminal import say
from s1ray.orchestration.training_data.endpoints import (
    check_endpoint,
    choose_sampling,
    identify_endpoint,
)
from s1ray.orchestration.training_data.opinions import converse
from s1ray.records import Question


def prepare_diversity(config: DiversityConfig) -> dict[str, Any]:
    """Check what domains are looked up in, and return what of it changes a selection.

    Raises:
        ValueError: The labels are wrong, or the model cannot be asked, or by several budgets.
    """
    if isinstance(config, LabelsDiversityConfig):
        path = Path(config.path).expanduser()
        read_labels(path)  # a file that is wrong is said now, not when the pool is screened
        return {"kind": config.kind, "labels": hash_file(path)}
    if not isinstance(config, SubjectsDiversityConfig):
        return config.model_dump(mode="json")
    check_endpoint(config.endpoint)
    expand_one(config.budget, key="diversity.budget")
    described = config.model_dump(mode="json", exclude={"endpoint"})
    return {**described, "endpoint": identify_endpoint(config.endpoint)}


def find_labels(
    recipe: Recipe, items: Sequence[PoolItem], *, verdicts: Verdicts
) -> dict[str, str] | None:
    """Return domains by question id, None where none are looked up.

    Args:
        recipe: Its diversity, and what difficulty keeps: only that is worth a request.
        items: A screened pool.
        verdicts: Of those who judged difficulty.
    """
    config = recipe.diversity
    if isinstance(config, LabelsDiversityConfig):
        return read_labels(Path(config.path).expanduser())
    if not isinstance(config, SubjectsDiversityConfig):
        return None
    is_sifted = recipe.selection.after_difficulty
    judge = judge_difficulty(verdicts, config=recipe.difficulty)
    left = [item.trace.question for item in items if not is_sifted or judge(item) is None]
    return _name_subjects(recipe, config, left)


def _name_subjects(
    recipe: Recipe, config: SubjectsDiversityConfig, questions: Sequence[Question]
) -> dict[str, str]:
    """Return each question's subject, as a model reads it."""
    policy = expand_one(config.budget, key="diversity.budget")
    requests = {
        question.id: ChatRequest(
            messages=(Message(role="user", content=ask_subject(question.text, config=config)),),
            policy=policy,
            sampling=choose_sampling(config.sampling, seed=config.seed),
        )
        for question in questions
    }
    answers = asyncio.run(converse(recipe, config.endpoint, requests, title="subjects"))
    subjects = {
        key: read_subject(asked.reply.answer if asked.reply else "", subjects=config.subjects)
        for key, asked in answers.items()
    }
    num_unread = sum(subject is None for subject in subjects.values())
    if num_unread:
        say(f"  {num_unread} of {len(subjects)} replies name no subject: domain {UNREAD!r}")
    return {key: subject or UNREAD for key, subject in subjects.items()}
