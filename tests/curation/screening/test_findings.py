"""Judging from surveys is judging item by item: same items, same reasons, same funnel."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from s1ray.config.curation import DecontaminationConfig
from s1ray.curation.funnel import Funnel, FunnelRecorder
from s1ray.curation.pool.items import PoolItem, ProtectedQuestion, Rejection
from s1ray.curation.pool.sources import Pool
from s1ray.curation.screening.findings import PoolFindings, SurveyedItem
from s1ray.curation.screening.screening import sift_pool
from s1ray.curation.screening.survey import Surveyor
from tests.curation.composed import screen_pool
from tests.curation.declared import declare, declare_pool
from tests.curation.made import make_item
from tests.curation.rules import make_rules

OVERLAP = {
    "mode": "overlap",
    "ngram_size": 4,
    "min_overlap": 0.5,
    "max_ngram_questions": 6,
    "near_duplicates": {
        "min_similarity": 0.6,
        "shingle_words": 2,
        "num_permutations": 64,
        "seed": 3,
    },
}
MODES = {
    "overlap": OVERLAP,
    "exact": {**OVERLAP, "near_duplicates": None},
    "s1": {"mode": "s1", "ngram_size": 4, "against_earlier_sources": True},
}


def _write_texts(rng: random.Random, *, number: int) -> Iterator[str]:
    """Questions of few words: new ones, repeats, near-repeats, and a common opening."""
    written: list[str] = []
    for _ in range(number):
        kind = rng.random()
        if written and kind < 0.15:
            text = rng.choice(written)
        elif written and kind < 0.45:
            words = rng.choice(written).split()
            words[rng.randrange(len(words))] = rng.choice("abcdefgh")
            text = " ".join(words)
        else:
            text = " ".join(rng.choices("abcdefghijklmnop", k=rng.randint(1, 14)))
        if rng.random() < 0.2:
            text = f"let m and n be prime {text}"
        written.append(text)
        yield text


def _make_pool(seed: int) -> tuple[list[PoolItem], list[ProtectedQuestion]]:
    rng = random.Random(seed)
    texts = list(_write_texts(rng, number=300))
    pool = [
        replace(make_item(text, source=f"s{number * 3 // len(texts)}"), origin=f"file:{number}")
        for number, text in enumerate(texts)
    ]
    protected = [
        ProtectedQuestion(benchmark=f"b{number % 2}", item=str(number), text=text, is_private=False)
        for number, text in enumerate([*rng.sample(texts, 8), *_write_texts(rng, number=20)])
    ]
    return pool, protected


Screened = tuple[list[PoolItem], list[Rejection], Funnel]


def _screen(
    pool: list[PoolItem], protected: list[ProtectedQuestion], mode: str, how: str
) -> Screened:
    config = TypeAdapter(DecontaminationConfig).validate_python(MODES[mode])
    rules = replace(make_rules(), max_duplicate_fraction=1.0, decontamination=config)
    rejections: list[Rejection] = []
    recorder = FunnelRecorder(reject=rejections.append)
    if how == "in turn":
        items = screen_pool(pool, protected=protected, rules=rules, recorder=recorder)
        return list(items), rejections, recorder.finish()
    surveyor = Surveyor(protected, config=config)
    with PoolFindings(protected, config=config, ngrams=surveyor.ngrams) as findings:
        findings.add(
            SurveyedItem(origin=item.origin, survey=surveyor.survey(item.trace.question.text))
            for item in pool
        )
        items = sift_pool(pool, judges=findings.judge(), rules=rules, recorder=recorder)
        return list(items), rejections, recorder.finish()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("mode", MODES)
def test_surveys_lead_to_the_same_items_reasons_and_funnel(mode: str, seed: int) -> None:
    pool, protected = _make_pool(seed)

    in_turn = _screen(pool, protected, mode, "in turn")

    assert _screen(pool, protected, mode, "surveyed") == in_turn


def test_random_pools_hold_what_the_steps_look_for() -> None:
    pool, protected = _make_pool(0)

    _, rejections, _ = _screen(pool, protected, "overlap", "in turn")

    found = {(rejection.step, rejection.evidence.get("match")) for rejection in rejections}
    assert {
        ("deduplicate", None),
        ("deduplicate_near", None),
        ("decontaminate", "same_words"),
        ("decontaminate", "ngrams"),
    } <= found


def _read_files(
    root: Path, files: Sequence[str], patterns: Mapping[str, tuple[str, ...]]
) -> list[PoolItem]:
    """Write two hundred questions, evenly over the files, and read them as sources."""
    texts = list(_write_texts(random.Random(5), number=200))
    size = len(texts) // len(files)
    for number, name in enumerate(files):
        rows = [{"q": text, "a": "1"} for text in texts[number * size :][:size]]
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    columns = {"solution": "{q}"}
    sources = {name: declare(files=places, columns=columns) for name, places in patterns.items()}
    pool = Pool(declare_pool(str(root), sources=sources))
    return [row for row in pool if isinstance(row, PoolItem)]


@pytest.mark.parametrize(
    "patterns",
    [{"one": ("x/*",), "two": ("y/*",)}, {"one": ("x/*", "y/*")}],
    ids=["two sources", "one source"],
)
@pytest.mark.parametrize("how", ["in turn", "surveyed"])
def test_files_of_one_name_are_screened_like_files_of_two(
    tmp_path: Path, patterns: Mapping[str, tuple[str, ...]], how: str
) -> None:
    alike = _read_files(tmp_path / "alike", ["x/train.jsonl", "y/train.jsonl"], patterns)
    apart = _read_files(tmp_path / "apart", ["x/one.jsonl", "y/two.jsonl"], patterns)

    expected, rejections, funnel = _screen(apart, [], "overlap", "in turn")
    kept, found, counts = _screen(alike, [], "overlap", how)

    assert [item.trace for item in kept] == [item.trace for item in expected]
    assert [item.id for item in found] == [item.id for item in rejections]
    assert counts == funnel
    assert {item.step for item in rejections} == {"deduplicate", "deduplicate_near"}


def test_two_items_of_one_origin_are_refused() -> None:
    pool, _ = _make_pool(0)
    pool[9] = replace(pool[9], origin="file:3")

    with pytest.raises(ValueError, match=r"two items of the pool have the origin 'file:3'"):
        _screen(pool, [], "overlap", "surveyed")


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_pool_has_no_findings(mode: str) -> None:
    assert _screen([], [], mode, "surveyed") == _screen([], [], mode, "in turn")
