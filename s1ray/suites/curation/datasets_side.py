"""The pool steps written plainly with Hugging Face ``datasets`` and datasketch.

Maps where a row stands alone, filters with a memory where it does not: a set for repeats, an index
in memory for near-duplicates. It takes rows apart and compares texts by the same rules as curation.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
from datasketch import MinHash

from s1ray.config.pool import RowsSourceConfig
from s1ray.curation.curate import measure_length
from s1ray.curation.pool.files import RawRow
from s1ray.curation.pool.items import PoolItem
from s1ray.curation.pool.rows import RowLimits, build_item
from s1ray.curation.screening.decontamination import (
    find_boilerplate,
    find_overlap_reason,
    index_protected,
)
from s1ray.curation.screening.deduplication import NearIndex
from s1ray.curation.screening.quality import judge_quality
from s1ray.curation.screening.survey import Surveyor

if TYPE_CHECKING:
    from s1ray.suites.curation.sides import ScreeningTask

Row = Mapping[str, Any]


def screen(task: "ScreeningTask") -> tuple[str, ...]:
    """Return the ids of the longest questions that pass every step."""
    datasets.disable_progress_bars()
    root = Path(str(task.pool.root))
    sources = task.pool.sources.values()
    files = [
        name for source in sources if isinstance(source, RowsSourceConfig) for name in source.files
    ]
    with TemporaryDirectory() as cache:
        rows = datasets.load_dataset(
            "json", data_files=[str(root / name) for name in files], split="train", cache_dir=cache
        )
        surveyor = Surveyor(task.protected, config=task.decontamination)
        described = rows.map(
            _describe,
            fn_kwargs={"task": task, "surveyor": surveyor},
            num_proc=task.num_processes,
            remove_columns=rows.column_names,
        ).filter(lambda kept: kept, input_columns=["is_item"])
        counts: Counter[str] = Counter()
        for ngrams in described["ngrams"]:
            counts.update(surveyor.ngrams[number] for number in ngrams)
        kept = described.filter(_remember_keys(), input_columns=["key"])
        kept = kept.filter(_remember_sketches(task), input_columns=["sketch"])
        kept = kept.filter(
            _judge_overlap(task, counts),
            input_columns=["text", "near_protected"],
            num_proc=task.num_processes,
        ).filter(lambda passes: passes, input_columns=["is_good"])
        ranked = sorted(zip(kept["length"], kept["id"], strict=True), key=lambda p: (-p[0], p[1]))
    return tuple(identifier for _, identifier in ranked[: task.num_selected])


def _describe(row: Row, task: "ScreeningTask", surveyor: Surveyor) -> dict[str, Any]:
    source = next(iter(task.pool.sources.values()))
    limits = RowLimits(
        max_question_characters=task.pool.max_question_characters,
        image_markers=task.pool.image_markers,
    )
    assert isinstance(source, RowsSourceConfig)
    item = build_item(
        RawRow(file="", number=0, content=row, error=None), source=source, name="", limits=limits
    )
    if not isinstance(item, PoolItem):
        return _EMPTY
    text = item.trace.question.text
    survey = surveyor.survey(text)
    length = measure_length(item.trace, kind="solution_or_question_words", count_tokens=len)
    return {
        "is_item": True,
        "id": item.trace.question.id,
        "text": text,
        "length": length,
        "key": survey.key,
        "ngrams": list(survey.ngrams),
        "sketch": survey.sketch,
        "near_protected": survey.near_protected,
        "is_good": judge_quality(task.rules.quality)(item) is None,
    }


_EMPTY: dict[str, Any] = {
    "is_item": False, "id": "", "text": "", "length": 0, "key": b"", "ngrams": [], "sketch": b"",
    "near_protected": -1, "is_good": False,
}  # fmt: skip


def _remember_keys() -> Callable[[bytes], bool]:
    seen: set[bytes] = set()

    def is_new(key: bytes) -> bool:
        is_known = key in seen
        seen.add(key)
        return not is_known

    return is_new


def _remember_sketches(task: "ScreeningTask") -> Callable[[bytes], bool]:
    config = task.decontamination.near_duplicates
    if config is None:
        return lambda _: True
    index, names = NearIndex(config), count()
    empty = MinHash(num_perm=config.num_permutations, seed=config.seed)

    def is_new(sketch: bytes) -> bool:
        if not sketch:
            return True
        minhash = empty.copy()
        minhash.hashvalues = np.frombuffer(sketch, dtype=np.uint32).astype(np.uint64)
        if index.find(minhash) is not None:
            return False
        index.add(str(next(names)), minhash)
        return True

    return is_new


def _judge_overlap(task: "ScreeningTask", counts: Mapping[str, int]) -> Callable[[str, int], bool]:
    config = task.decontamination
    boilerplate = find_boilerplate(counts, max_questions=config.max_ngram_questions)
    index = index_protected(task.protected, config=config, boilerplate=boilerplate)

    def is_clean(text: str, near_protected: int) -> bool:
        return near_protected < 0 and find_overlap_reason(text, index=index) is None

    return is_clean
