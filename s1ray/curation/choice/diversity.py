"""Which domain each question belongs to.

It knows the source's own subject, labels that were looked up, groups of words, and how to ask a
model for a subject; it asks no model itself.
"""

import re
from collections.abc import Iterable, Mapping

from s1ray.config.curation import (
    ClustersDiversityConfig,
    DiversityConfig,
    SourceDiversityConfig,
    SubjectsDiversityConfig,
)
from s1ray.curation.choice.clusters import group_texts
from s1ray.records import Question

UNREAD = "no subject named"
"""The domain of questions whose reply named none of the subjects."""
_CODE = re.compile(r"[0-9A-Za-z]+")


def find_domains(
    questions: Iterable[Question], *, labels: Mapping[str, str] | None, config: DiversityConfig
) -> list[str]:
    """Return each question's domain, which selection balances.

    Args:
        questions: All that are still candidates; groups are made of them together.
        labels: Question id to domain, where ``config`` looks domains up; else None.
        config: Where domains come from.

    Raises:
        ValueError: ``labels`` does not cover a question, or there are too few to group.
    """
    if isinstance(config, SourceDiversityConfig):
        return [question.domain or question.source for question in questions]
    if isinstance(config, ClustersDiversityConfig):
        return group_texts([question.text for question in questions], rules=config)
    return [_look_up(question, labels or {}) for question in questions]


def ask_subject(question: str, *, config: SubjectsDiversityConfig) -> str:
    """Return the prompt that asks a model for a question's subject.

    Source: s1 (arXiv 2501.19393) section 2.2: a model chooses a Mathematics Subject Classification
    code; the wording is this project's.
    """
    subjects = "\n".join(f"{code} {name}" for code, name in config.subjects.items())
    return config.prompt.replace("{subjects}", subjects).replace("{question}", question)


def read_subject(reply: str, *, subjects: Mapping[str, str]) -> str | None:
    """Return the name of the subject whose code ends the reply; None where no code does."""
    words = _CODE.findall(reply)
    return subjects.get(words[-1]) if words else None


def name_domain_stand_in(config: DiversityConfig) -> str | None:
    """Return what stands in for s1's subjects chosen by a model; None where a model chose."""
    if isinstance(config, SourceDiversityConfig):
        return "the sources' own subjects stand in for subjects chosen by a model"
    if isinstance(config, ClustersDiversityConfig):
        return (
            f"{config.num_clusters} groups of questions with the same words stand in for subjects "
            "chosen by a model"
        )
    return None


def _look_up(question: Question, labels: Mapping[str, str]) -> str:
    label = labels.get(question.id)
    if label is None:
        raise ValueError(
            f"diversity has no label for question {question.id} of {question.source}; "
            f"{len(labels)} questions are labelled. Label every question that passes the "
            "difficulty step, or set diversity=source."
        )
    return label
