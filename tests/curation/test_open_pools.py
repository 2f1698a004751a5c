"""The open pools, whole: published counts, and s1's selection from beginning to end."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest
from pydantic import TypeAdapter

from s1ray.config.curation import (
    DecontaminationConfig,
    DifficultyConfig,
    DiversityConfig,
    QualityConfig,
    SelectionConfig,
)
from s1ray.config.pool import PoolConfig
from s1ray.curation.pool.files import read_file
from s1ray.curation.pool.items import PoolItem, ProtectedQuestion, RefusedRow, Rejection
from s1ray.curation.pool.sources import Pool
from s1ray.curation.screening.decontamination import judge_contamination
from s1ray.curation.screening.screening import CurationRules
from s1ray.curation.screening.words import spell_key
from tests.choices import read_choice
from tests.curation.composed import curate
from tests.reference_data import DATA, find_reference

BENCHMARKS = {
    "math500": ("problem", "unique_id"),
    "gsm8k_test": ("question", "question"),
    "aime24": ("problem", "id"),
    "amc23": ("problem", "id"),
}


@pytest.fixture(scope="module")
def pool() -> list[PoolItem | RefusedRow]:
    config = read_choice("pool", "open_files")
    return list(Pool(PoolConfig.model_validate({**config, "root": str(find_reference("pool"))})))


def _protect(name: str) -> Iterator[ProtectedQuestion]:
    text, identifier = BENCHMARKS[name]
    for row in read_file(find_reference(f"eval/{name}.jsonl.gz"), root=DATA):
        assert row.content is not None
        yield ProtectedQuestion(
            benchmark=name,
            item=str(row.content[identifier]),
            text=str(row.content[text]),
            is_private=False,
        )


def _rules(**changes: str) -> CurationRules:
    groups = {
        "decontamination": "overlap",
        "quality": "questions",
        "difficulty": "level",
        "diversity": "clusters",
        "selection": "s1k_questions",
        **changes,
    }
    content = {group: read_choice(group, choice) for group, choice in groups.items()}
    return CurationRules(
        max_duplicate_fraction=0.25,
        decontamination=TypeAdapter(DecontaminationConfig).validate_python(
            content["decontamination"]
        ),
        quality=QualityConfig.model_validate(content["quality"]),
        difficulty=TypeAdapter(DifficultyConfig).validate_python(content["difficulty"]),
        diversity=TypeAdapter(DiversityConfig).validate_python(content["diversity"]),
        selection=TypeAdapter(SelectionConfig).validate_python(content["selection"]),
    )


def _texts(pool: list[PoolItem | RefusedRow]) -> list[str]:
    return [row.trace.question.text for row in pool if isinstance(row, PoolItem)]


def _fold(text: str) -> str:
    return " ".join(text.lower().split())


def test_pool_holds_the_published_number_of_rows_and_little_is_refused(
    pool: list[PoolItem | RefusedRow],
) -> None:
    refused = Counter(row.reason for row in pool if isinstance(row, RefusedRow))

    assert len(pool) == 60_545
    # 4 answers of MATH are null, 53 questions of TheoremQA have a picture, 30 of AIME are of 2023.
    assert refused == {"image": 53 + 17, "left_out": 30, "empty_answer": 4}


@pytest.mark.parametrize(("fold", "known"), [(_fold, 104), (spell_key, 109)])
def test_known_math500_questions_stand_in_the_pool(
    pool: list[PoolItem | RefusedRow], fold: object, known: int
) -> None:
    assert callable(fold)
    spelled = {fold(text) for text in _texts(pool)}

    found = [item for item in _protect("math500") if fold(item.text) in spelled]

    assert len(found) == known


def test_overlap_mode_finds_every_known_math500_question_and_s1s_mode_does_not(
    pool: list[PoolItem | RefusedRow],
) -> None:
    protected = list(_protect("math500"))
    spelled = {spell_key(item.text) for item in protected}
    known = [
        row
        for row in pool
        if isinstance(row, PoolItem) and spell_key(row.trace.question.text) in spelled
    ]
    overlap = _rules().decontamination.model_copy(update={"near_duplicates": None})
    s1 = _rules(decontamination="s1").decontamination

    judge = judge_contamination([], protected=protected, config=overlap, sketcher=None)
    judge_as_s1 = judge_contamination([], protected=protected, config=s1, sketcher=None)

    assert all(judge(item) is not None for item in known)
    missed = [item for item in known if judge_as_s1(item) is None]
    assert missed
    assert any(len(item.trace.question.text.split()) < 8 for item in missed)


@pytest.mark.slow
def test_s1k_over_the_open_pools_gives_a_thousand_clean_questions(
    pool: list[PoolItem | RefusedRow],
) -> None:
    protected = [item for name in BENCHMARKS for item in _protect(name)]
    rejections: list[Rejection] = []

    result = curate(
        pool,
        protected=protected,
        verdicts={},
        labels=None,
        count_tokens=len,
        rules=_rules(),
        reject=rejections.append,
    )

    texts = {spell_key(trace.question.text) for trace in result.selected}
    steps = result.funnel.steps
    assert len(texts) == 1_000
    assert texts.isdisjoint(spell_key(item.text) for item in protected)
    assert [step.num_in for step in steps[1:]] == [step.num_out for step in steps[:-1]]
    assert len(rejections) == 60_545 - 1_000
    assert sum(step.stand_in is not None for step in steps) == 2
    json.dumps(result.funnel.describe(), allow_nan=False)


def test_published_s1k_rows_read_with_their_traces() -> None:
    config = read_choice("pool", "s1k_1_1")
    sources = config["sources"]
    columns = {
        "thinking": "{gemini_thinking_trajectory}",
        "answer": "{gemini_attempt}",
        "teacher": "gemini",
        "correct": None,
    }
    mine = {**sources["s1k"], "files": ["s1k_sample5.parquet"], "trace": columns}
    changed = {**config, "root": str(find_reference("traces")), "sources": {"s1k": mine}}

    items = list(Pool(PoolConfig.model_validate(changed)))

    assert len(items) == 5
    assert all(isinstance(item, PoolItem) for item in items)
    assert all(len(item.trace.thinking) > 100 for item in items if isinstance(item, PoolItem))
