import random

import pytest

from s1ray.config.curation import (
    ClustersDiversityConfig,
    LabelsDiversityConfig,
    SourceDiversityConfig,
    SubjectsDiversityConfig,
)
from s1ray.curation.choice.clusters import group_texts
from s1ray.curation.choice.diversity import ask_subject, find_domains, read_subject
from tests.choices import read_choice
from tests.curation.made import make_item
from tests.generation.chat_requests import configure_endpoint

CLUSTERS = ClustersDiversityConfig(
    kind="clusters",
    num_clusters=3,
    num_dimensions=64,
    min_questions=5,
    max_fraction=0.5,
    min_letters=3,
    num_rounds=20,
    seed=1,
)
TOPICS = {
    "geometry": "triangle circle angle radius tangent chord polygon",
    "chance": "probability dice coin random cards expected deck",
    "numbers": "divisor prime remainder modulo integer digits factor",
}


def _texts(number: int) -> list[tuple[str, str]]:
    rng = random.Random(5)
    texts = []
    for _ in range(number):
        topic = rng.choice(sorted(TOPICS))
        words = rng.choices(TOPICS[topic].split(), k=8) + rng.choices(["find", "the", "a"], k=6)
        texts.append((topic, " ".join(rng.sample(words, len(words)))))
    return texts


def test_groups_follow_the_words_that_questions_share() -> None:
    texts = _texts(300)

    groups = group_texts([text for _, text in texts], rules=CLUSTERS)

    pairs = {(topic, group) for (topic, _), group in zip(texts, groups, strict=True)}
    assert len(pairs) == 3
    assert all(set(group.split()[1:]) <= set(TOPICS[topic].split()) for topic, group in pairs)


def test_groups_are_repeatable() -> None:
    texts = [text for _, text in _texts(200)]

    assert group_texts(texts, rules=CLUSTERS) == group_texts(texts, rules=CLUSTERS)


def test_too_few_questions_to_group_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_clusters=3 groups cannot be made of 2 questions"):
        group_texts(["a", "b"], rules=CLUSTERS)


def test_questions_that_are_too_much_alike_to_group_are_refused() -> None:
    # Each kind has words of its own, and any two questions of one kind are equal.
    texts = ["triangle circle", "prime divisor"] * 10

    with pytest.raises(ValueError, match=r"num_clusters to at most 2"):
        group_texts(texts, rules=CLUSTERS)


def test_the_sources_subject_or_name_is_the_domain() -> None:
    questions = [
        make_item("a", source="math", domain="Algebra").trace.question,
        make_item("b", source="aime").trace.question,
    ]

    domains = find_domains(questions, labels=None, config=SourceDiversityConfig(kind="source"))

    assert domains == ["Algebra", "aime"]


def test_labels_are_looked_up_and_must_cover_every_question() -> None:
    question = make_item("a").trace.question
    config = LabelsDiversityConfig(kind="labels", path="x")

    assert find_domains([question], labels={question.id: "05"}, config=config) == ["05"]
    with pytest.raises(
        ValueError, match=rf"no label for question {question.id} of src; 0 questions"
    ):
        find_domains([question], labels=None, config=config)


def test_a_model_is_asked_for_a_subject_and_its_last_code_counts() -> None:
    subjects = {"05": "Combinatorics", "11": "Number theory"}
    config = SubjectsDiversityConfig.model_validate(
        {
            **read_choice("diversity", "msc"),
            "endpoint": configure_endpoint(),
            "budget": read_choice("budget", "natural"),
            "sampling": read_choice("sampling", "greedy"),
            "prompt": "{subjects}\n--\n{question}",
            "subjects": subjects,
        }
    )

    assert ask_subject("Why {x}?", config=config) == (
        "05 Combinatorics\n11 Number theory\n--\nWhy {x}?"
    )
    replies = ["It counts, so 05.", "**11**", "05 or maybe not", "", "99"]
    assert [read_subject(reply, subjects=subjects) for reply in replies] == [
        "Combinatorics",
        "Number theory",
        None,
        None,
        None,
    ]
