"""Pools of any size for the curation suite, made from real questions in a fixed way.

Knows how rows are varied; it does not know what is measured.
"""

import hashlib
import json
import string
from collections.abc import Iterator
from pathlib import Path

from s1ray.config.pool import ColumnsConfig, PoolConfig, RowsSourceConfig
from s1ray.curation.pool.items import PoolItem
from s1ray.curation.pool.sources import Pool

_LETTERS = string.ascii_lowercase


def write_pool(origin: PoolConfig, directory: Path, *, num_rows: int, copy_rows: int) -> PoolConfig:
    """Write a pool of so many questions, one file for each copy of the origin, and return it.

    Args:
        origin: Real questions.
        directory: Takes the files; files that are there are kept.
        num_rows: Fewer than a copy are drawn by a hash of their texts.
        copy_rows: Rows in the first copy at most.
    """
    directory.mkdir(parents=True, exist_ok=True)
    names = []
    for number, start in enumerate(range(0, num_rows, copy_rows)):
        size = min(copy_rows, num_rows - start)
        name = f"copy_{number}_{size}.jsonl"
        path = directory / name
        if not path.exists():
            draft = path.with_suffix(".draft")
            with draft.open("w", encoding="utf-8") as file:
                file.writelines(_write_rows(origin, number=number, size=size))
            draft.rename(path)
        names.append(name)
    sources = {f"copy_{number}": _declare(name) for number, name in enumerate(names)}
    return origin.model_copy(update={"root": str(directory), "sources": sources})


def _write_rows(origin: PoolConfig, *, number: int, size: int) -> Iterator[str]:
    questions = [row.trace.question for row in Pool(origin) if isinstance(row, PoolItem)]
    if size < len(questions):
        questions = sorted(questions, key=lambda item: hashlib.sha256(item.text.encode()).digest())
    moved = str.maketrans(
        _LETTERS + _LETTERS.upper(), _move(_LETTERS, number) + _move(_LETTERS.upper(), number)
    )
    for place in range(size):
        question = questions[place % len(questions)]
        row = {
            "question": question.text.translate(moved),
            "answer": question.answer,
            "solution": question.solution,
        }
        yield json.dumps(row) + "\n"


def _move(letters: str, number: int) -> str:
    return letters[number:] + letters[:number]


def _declare(name: str) -> RowsSourceConfig:
    return RowsSourceConfig(
        kind="rows",
        origin="the open pools, varied",
        licence="as the open pools",
        files=(name,),
        hub=None,
        keep=(),
        sample=None,
        columns=ColumnsConfig(
            question="{question}",
            answer="{answer}",
            solution="{solution}",
            domain=None,
            level=None,
            cuts={},
            options=None,
            images=(),
        ),
        trace=None,
        answer_kind="math",
        is_answer_required=True,
    )
