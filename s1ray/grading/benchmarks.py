"""From a benchmark's declaration to its Questions.

Reads rows from a local file, or one pinned file from the hub, and knows how sources spell gold
answers. It does not generate questions: whoever owns a generator passes them in. Messages name
rows by position and field, never by content, since some benchmarks are private.
"""

import ast
import hashlib
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from s1ray.config.grading import (
    ChoicesConfig,
    GeneratedBenchmarkConfig,
    GoldForm,
    HubFile,
    RowsBenchmarkConfig,
)
from s1ray.grading.extraction import extract_answer
from s1ray.grading.numerals import read_numeral
from s1ray.records import AnswerKind, Question
from s1ray.row_files import Row, read_placed_rows

LETTERS = "ABCDEFGHIJ"


def load_questions(name: str, config: RowsBenchmarkConfig) -> tuple[Question, ...]:
    """Return a benchmark's questions, each with its complete user turn as text.

    Args:
        name: The benchmark's key in the configuration; becomes the questions' source.
        config: Where the rows lie and what their fields mean.

    Raises:
        ValueError: The file is absent or of no known format, a field is missing, an answer does
            not have the declared form, or two rows share an id.
    """
    path = Path(config.path) if config.path is not None else _fetch(name, config.hub)
    if not path.is_file():
        raise ValueError(f"benchmark.{name}.path={path} is no file. Give the path of one.")
    questions: list[Question] = []
    positions: dict[str, int] = {}
    for index, (_, row) in enumerate(read_placed_rows(path)):
        if len(questions) == config.limit:
            break
        where = f"benchmark.{name}: row {index} of {path.name}"
        question = _read_question(row, where=where, name=name, config=config)
        if question.id in positions:
            raise ValueError(
                f"{where} has the id of row {positions[question.id]}. Ids must be unique; set "
                f"benchmark.{name}.fields.id to a field that is, or to [] for ids from the text."
            )
        positions[question.id] = index
        questions.append(question)
    if not questions:
        raise ValueError(f"benchmark.{name}: {path.name} holds no rows. Check the file.")
    return tuple(questions)


def present_questions(
    name: str, config: GeneratedBenchmarkConfig, *, questions: Sequence[Question]
) -> tuple[Question, ...]:
    """Return generated questions as the benchmark asks them: its prompt, its name as source."""
    return tuple(
        replace(question, text=config.prompt.format(question=question.text), source=name)
        for question in questions
    )


def shuffle_options(
    right: str, wrong: Sequence[str], *, seed: int, item: str
) -> tuple[tuple[str, ...], str]:
    """Return the options of a multiple-choice item in their order, and the right one's letter.

    The permutation depends on the seed and the item's id alone, not on other items or their order.

    Args:
        right: The right option.
        wrong: The others.
        seed: Of the benchmark.
        item: The item's id.
    """
    order = list(range(len(wrong) + 1))
    random.Random(f"{seed}:{item}").shuffle(order)
    options = (right, *wrong)
    return tuple(options[index] for index in order), LETTERS[order.index(0)]


def _read_question(row: Row, *, where: str, name: str, config: RowsBenchmarkConfig) -> Question:
    text = _read_field(row, config.fields.question, where=where)
    if config.fields.context and (context := _find_field(row, config.fields.context)):
        text = f"{context}\n\n{text}"
    item = _find_field(row, config.fields.id)
    item = hashlib.sha256(text.encode()).hexdigest()[:16] if item is None else item
    raw = _find_value(row, config.fields.answer)
    if raw is None:
        raise ValueError(_describe_missing(row, config.fields.answer, where=where))
    answer = _GOLD_READERS[config.gold](raw)
    if not answer:
        raise ValueError(
            f"{where}: the answer does not have the form gold={config.gold}. Fix the row, or set "
            f"benchmark.{name}.gold to the form that the source uses."
        )
    prompt = {"question": text}
    if config.options is not None:
        options, answer = _read_options(row, answer, item=item, where=where, config=config.options)
        prompt |= dict(zip(LETTERS, options, strict=False))
    return Question(
        id=item,
        text=config.prompt.format(**prompt),
        answer=answer,
        answer_kind=AnswerKind(config.answer_kind),
        source=name,
        domain=None,
        solution=None,
    )


def _read_options(
    row: Row, right: str, *, item: str, where: str, config: ChoicesConfig
) -> tuple[tuple[str, ...], str]:
    wrong = [_read_field(row, (field,), where=where) for field in config.incorrect]
    return shuffle_options(right, wrong, seed=config.seed, item=item)


def _find_value(row: Row, names: Sequence[str]) -> Any:  # noqa: ANN401 - a source's own type
    return next((row[name] for name in names if row.get(name) is not None), None)


def _find_field(row: Row, names: Sequence[str]) -> str | None:
    value = _find_value(row, names)
    text = "" if value is None else str(value).strip()
    return None if text in ("", "None") else text


def _read_field(row: Row, names: Sequence[str], *, where: str) -> str:
    if (text := _find_field(row, names)) is None:
        raise ValueError(_describe_missing(row, names, where=where))
    return text


def _describe_missing(row: Row, names: Sequence[str], *, where: str) -> str:
    return (
        f"{where} has none of the fields {', '.join(names)}; it has {', '.join(sorted(row))}. "
        "Set the benchmark's fields to the source's names."
    )


def _read_boxed(raw: object) -> str | None:
    return extract_answer(str(raw), kind=AnswerKind.MATH, forms=("boxed",), max_bare_characters=1)


def _read_after_hashes(raw: object) -> str | None:
    return str(raw).rpartition("####")[2].strip() if "####" in str(raw) else None


def _read_whole_number(raw: object) -> str | None:
    numeral = read_numeral(str(raw))
    return str(int(numeral.value)) if numeral is not None and numeral.is_integer else None


def _read_list(raw: object) -> str | None:
    """Return "3, 5" for a list of answers, or for a text that spells such a list."""
    try:
        values = ast.literal_eval(raw) if isinstance(raw, str) else raw
    except (ValueError, SyntaxError):
        return None
    if not isinstance(values, list | tuple):
        return None
    return ", ".join(re.sub(r"^\$+|\$+$", "", str(value).strip()) for value in values)


_GOLD_READERS: dict[GoldForm, Callable[[object], str | None]] = {
    "verbatim": lambda raw: str(raw).strip(),
    "hashes": _read_after_hashes,
    "boxed": _read_boxed,
    "whole_number": _read_whole_number,
    "list": _read_list,
}


def _fetch(name: str, hub: HubFile | None) -> Path:
    """Return the local copy of a pinned hub file, from the cache where it is there already."""
    assert hub is not None  # the schema asks for a path where there is no hub
    from huggingface_hub import hf_hub_download  # noqa: PLC0415 - only where a hub is asked
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415 - as above

    try:
        fetched = hf_hub_download(hub.dataset, hub.file, repo_type="dataset", revision=hub.revision)
    except (OSError, HfHubHTTPError) as error:
        raise ValueError(
            f"benchmark.{name}: {hub.file} of {hub.dataset}@{hub.revision} could not be fetched: "
            f"{str(error).rstrip('.')}. Set benchmark.{name}.path to a local copy, or check the "
            "network and, for gated data sets, that HF_TOKEN has access."
        ) from error
    return Path(fetched)
