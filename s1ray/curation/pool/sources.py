"""Where pool items come from: generators and files, as configuration declares them.

It reads lazily and in the order of the sources. It does not know what later steps keep.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from s1ray.config.pool import (
    HubConfig,
    PoolConfig,
    RowsSourceConfig,
    RunningSumsSourceConfig,
    SampleConfig,
    TracesSourceConfig,
)
from s1ray.curation.pool.checks import check_rows
from s1ray.curation.pool.files import SourceFiles, find_files, read_file
from s1ray.curation.pool.items import PoolItem, RefusedRow
from s1ray.curation.pool.rows import RowLimits, build_item, read_item
from s1ray.curation.pool.running_sums import generate_running_sums
from s1ray.curation.pool.templates import find_fields


class Pool:
    """All items and refused rows of a pool; every iteration reads the sources anew.

    It may travel to other processes of this machine, which read the files that were found here.
    """

    def __init__(self, config: PoolConfig) -> None:
        """Find the files, so that a missing one is known before anything runs.

        Raises:
            ValueError: A file is missing, a source is neither below the root nor on the hub, or its
                questions or answers name no column.
        """
        self._config = config
        for name, source in config.sources.items():
            if isinstance(source, RowsSourceConfig):
                check_columns(source, name=name)
        self.files = {
            name: locate_files(source, name=name, root=config.root)
            for name, source in config.sources.items()
            if not isinstance(source, RunningSumsSourceConfig)
        }
        """Per source, what is read; their content is what a fingerprint of the pool covers."""

    def __iter__(self) -> Iterator[PoolItem | RefusedRow]:
        """Yield item by item.

        Raises:
            ValueError: A source has more bad rows than ``max_bad_fraction``.
        """
        for name, source in self._config.sources.items():
            yield from check_rows(
                self.read(name),
                name=name,
                max_bad_fraction=self._config.max_bad_fraction,
                has_columns=isinstance(source, RowsSourceConfig),
            )

    def read(self, name: str) -> Iterator[PoolItem | RefusedRow]:
        """Return the items and refused rows of one source, however many are bad."""
        source = self._config.sources[name]
        if isinstance(source, RunningSumsSourceConfig):
            return generate_items(source, name=name)
        limits = RowLimits(
            max_question_characters=self._config.max_question_characters,
            image_markers=self._config.image_markers,
        )
        return read_source(source, name=name, files=self.files[name], limits=limits)


def fingerprint_pool(config: PoolConfig) -> dict[str, list[str]]:
    """Return the sha256 of each source's files, in order: what the pool's rows depend on.

    Generated sources depend on their configuration alone and have no entry.

    Raises:
        ValueError: As ``Pool``.
    """
    return {
        name: [_hash_file(path) for path in files.paths]
        for name, files in Pool(config).files.items()
    }


def generate_items(source: RunningSumsSourceConfig, *, name: str) -> Iterator[PoolItem]:
    """Yield the items of a generator; their questions come from ``name``, as a file's do."""
    traces = generate_running_sums(
        num_questions=source.num_questions,
        seed=source.seed,
        min_terms=source.sums.min_terms,
        max_terms=source.sums.max_terms,
        max_number=source.sums.max_number,
        operations=source.sums.operations,
        phrasings=source.sums.phrasings,
    )
    for number, trace in enumerate(traces):
        named = replace(trace, question=replace(trace.question, source=name))
        yield PoolItem(trace=named, source=name, origin=f"{name}:{number}", level=None)


def read_source(
    source: RowsSourceConfig | TracesSourceConfig,
    *,
    name: str,
    files: SourceFiles,
    limits: RowLimits,
) -> Iterator[PoolItem | RefusedRow]:
    """Yield the items and refused rows of one source's files.

    Args:
        source: How its rows are read.
        name: Of the source; part of what a row is called.
        files: Where they are.
        limits: What makes a question unusable.
    """
    rows = (row for path in files.paths for row in read_file(path, root=files.root))
    if isinstance(source, TracesSourceConfig):
        return (read_item(row, name=name, limits=limits) for row in rows)
    items = (build_item(row, source=source, name=name, limits=limits) for row in rows)
    return items if source.sample is None else sample_items(items, config=source.sample)


def sample_items(
    rows: Iterable[PoolItem | RefusedRow], *, config: SampleConfig
) -> Iterator[PoolItem | RefusedRow]:
    """Yield a fixed random part of a source's items, and the others as left out.

    Which items are chosen depends on their questions and the seed alone, not on the rows' order.
    Holds the source's items in memory.
    """
    items: list[PoolItem] = []
    for row in rows:
        if isinstance(row, PoolItem):
            items.append(row)
        else:
            yield row
    chosen = _choose_origins(items, config=config)
    for item in items:
        if item.origin in chosen:
            yield item
            continue
        yield RefusedRow(
            reason="not_sampled", detail="", source=item.source, origin=item.origin, is_bad=False
        )


def _choose_origins(items: Iterable[PoolItem], *, config: SampleConfig) -> frozenset[str]:
    def shuffle(item: PoolItem) -> bytes:
        return hashlib.sha256(f"{config.seed}:{item.trace.question.id}".encode()).digest()

    turns: Counter[str | None] = Counter()
    order: list[tuple[int, int, str]] = []
    for place, item in enumerate(sorted(items, key=shuffle)):
        domain = item.trace.question.domain if config.is_even_over_domains else None
        turns[domain] += config.is_even_over_domains
        order.append((turns[domain], place, item.origin))
    return frozenset(origin for _, _, origin in sorted(order)[: config.num_rows])


def locate_files(
    source: RowsSourceConfig | TracesSourceConfig, *, name: str, root: str | None
) -> SourceFiles:
    """Return a source's files: below the root, or fetched from the hub where there is no root.

    Raises:
        ValueError: The source has no files of that kind, or they are missing.
    """
    if root is not None:
        if not source.files:
            raise ValueError(
                f"pool.sources.{name} names no files, and pool.root={root} asks for local ones. "
                f"Set pool.sources.{name}.files, or pool.root=null to read it from the hub."
            )
        return _locate(Path(root).expanduser(), patterns=source.files, name=name)
    if isinstance(source, TracesSourceConfig) or source.hub is None:
        raise ValueError(
            f"pool.sources.{name} is not on the hub, and pool.root is null. Set pool.root to the "
            "directory that holds its files."
        )
    return _locate(fetch_from_hub(source.hub, name=name), patterns=source.hub.files, name=name)


def _locate(root: Path, *, patterns: Iterable[str], name: str) -> SourceFiles:
    absolute = root.absolute()
    try:
        return SourceFiles(root=absolute, paths=find_files(absolute, patterns=patterns))
    except ValueError as error:
        raise ValueError(f"pool.sources.{name}: {error}") from error


def check_columns(source: RowsSourceConfig, *, name: str) -> None:
    """Refuse a question, answer or trace that would be the same text in every row.

    Raises:
        ValueError: A template of them is a text that names no column.
    """
    templates = {
        "columns.question": source.columns.question,
        "columns.answer": source.columns.answer,
    }
    if source.trace is not None:
        templates["trace.thinking"] = source.trace.thinking
        templates["trace.answer"] = source.trace.answer
    for key, template in templates.items():
        if (template or key == "columns.question") and not find_fields(template):
            shown = f"pool.sources.{name}.{key}"
            raise ValueError(
                f"{shown}={template!r} names no column, so that it would be the same in every row. "
                f"Put the column's name in braces, and quote it for the shell and for Hydra: "
                f"{shown}='\"{{{template or 'column'}}}\"'."
            )


def fetch_from_hub(hub: HubConfig, *, name: str) -> Path:
    """Return the local copy of a hub dataset's files, downloading what is not cached.

    Raises:
        ValueError: They are not cached, and the hub does not give them; or it has none of them.
    """
    try:
        path = snapshot_download(
            hub.repository,
            repo_type="dataset",
            revision=hub.revision,
            allow_patterns=list(hub.files),
        )
    except (OSError, HfHubHTTPError) as error:
        raise ValueError(
            f"pool.sources.{name}: {hub.repository}@{hub.revision} could not be fetched: "
            f"{str(error).rstrip('.')}. Check the network and, for gated data sets, that HF_TOKEN "
            f"has access; or set pool.root and pool.sources.{name}.files to local copies."
        ) from error
    for pattern in hub.files:
        if not any(Path(path).glob(pattern)):
            raise ValueError(
                f"no file of {hub.repository}@{hub.revision} on the hub matches {pattern!r}. "
                f"Correct pool.sources.{name}.hub.files, or hub.revision beside it."
            )
    return Path(path)


def _hash_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
