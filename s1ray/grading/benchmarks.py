"""From a benchmark's declaration to its Questions.

Reads rows from a local file, or one pinned file from the hub, and knows how sources spell gold
answers. It does not generate questions: whoever owns a generator passes them in. Messages name
rows by position and field, never by content, since some benchmarks are private.
"""

import ast
import csv
import gzip
import hashlib
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TextIO

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

Row = Mapping[str, Any]
LETTERS = "ABCDEFGHIJ"


class PlacedRow(NamedTuple):
    """A row and where its file has it."""

    place: str
    """Such as "line 3"; lines count from 1, and rows of formats without lines from 0."""
    row: Row


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
    questions: list[Question] = []
    positions: dict[str, int] = {}
    for index, row in enumerate(read_rows(path)):
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


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file, as ``read_placed_rows`` does."""
    return (placed.row for placed in read_placed_rows(path))


def read_placed_rows(path: Path) -> Iterator[PlacedRow]:
    """Yield the rows of a JSONL, JSON, CSV or Parquet file; all but Parquet may be gzipped.

    Raises:
        ValueError: No such file, another ending, or content that is not of that format.
    """
    if not path.is_file():
        raise ValueError(f"{path} is no file. Give the path of a JSONL, JSON, CSV or Parquet file.")
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    kind = suffixes[-1] if suffixes else ""
    if kind == ".parquet":
        import pyarrow.parquet  # noqa: PLC0415 - heavy, and for this format only

        yield from _number(pyarrow.parquet.read_table(path).to_pylist())
    elif kind in _TEXT_FORMATS:
        # newline="\n": only that ends a JSONL row; some texts hold U+2028.
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8", newline="\n") as file:
            try:
                yield from _TEXT_FORMATS[kind](file)
            except ValueError as error:
                raise ValueError(f"{path.name}: {error}") from error
    else:
        raise ValueError(
            f"{path.name} has no known format. Its name must end with .jsonl, .json, .csv "
            "(each also .gz) or .parquet."
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


def _read_jsonl(file: TextIO) -> Iterator[PlacedRow]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            place = f"line {number}"
            yield PlacedRow(place, _check_row(_parse(line, where=place), where=place))


def _read_json(file: TextIO) -> Iterator[PlacedRow]:
    rows = _parse(file.read(), where="the file")
    if not isinstance(rows, list):
        raise ValueError("the JSON file holds no list. Write a list of objects, or JSONL.")
    return _number(rows)


def _read_csv(file: TextIO) -> Iterator[PlacedRow]:
    return _number(csv.DictReader(file))


def _number(rows: Iterable[object]) -> Iterator[PlacedRow]:
    for index, row in enumerate(rows):
        place = f"row {index}"
        yield PlacedRow(place, _check_row(row, where=place))


def _parse(text: str, *, where: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        # The decoder's own error carries the text, which may be private.
        raise ValueError(f"{where} is not JSON: {error.msg} at character {error.pos}.") from None


def _check_row(row: object, *, where: str) -> Row:
    if not isinstance(row, Mapping):
        raise ValueError(f"{where} holds {type(row).__name__}, not an object with fields.")
    return row


_TEXT_FORMATS: dict[str, Callable[[TextIO], Iterator[PlacedRow]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
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
            f"{type(error).__name__}. Set benchmark.{name}.path to a local copy, or check the "
            "network and, for gated data sets, that HF_TOKEN has access."
        ) from error
    return Path(fetched)
