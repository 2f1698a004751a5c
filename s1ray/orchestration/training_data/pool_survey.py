"""A pool surveyed on Ray Data: tasks read the sources, workers survey the questions.

Thin: what a survey is and what follows from it stands in ``curation``. The sources are read on the
node of the caller, where their files were found; workers are anywhere. Only surveys come back, in
the pool's order; texts stay with the workers.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, cast

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset, TaskPoolStrategy

from s1ray.config.curation import DecontaminationConfig, RayScreeningConfig
from s1ray.config.pool import PoolConfig
from s1ray.curation.pool.items import PoolItem, ProtectedQuestion
from s1ray.curation.pool.sources import Pool
from s1ray.curation.screening.findings import PoolFindings, SurveyedItem
from s1ray.curation.screening.survey import Survey, Surveyor

NODE_LABEL = "ray.io/node-id"
"""Ray's own, on every node."""
_SCHEMA = pa.schema(
    {
        "origin": pa.string(),
        "key": pa.binary(),
        "ngrams": pa.list_(pa.int32()),
        "is_same": pa.bool_(),
        "sketch": pa.binary(),
        "bands": pa.binary(),
        "near_protected": pa.int32(),
        "near_similarity": pa.float64(),
    }
)
"""An origin and the fields of ``Survey``."""


class SurveyWorker:
    """A surveyor in a process of its own."""

    def __init__(
        self, protected: Sequence[ProtectedQuestion], config: DecontaminationConfig
    ) -> None:
        self._surveyor = Surveyor(protected, config=config)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return the surveys of a batch of questions."""
        surveys = [self._surveyor.survey(text) for text in batch["text"].to_pylist()]
        columns = {
            name: [getattr(survey, name) for survey in surveys] for name in _SCHEMA.names[1:]
        }
        return pa.table({"origin": batch["origin"], **columns}, schema=_SCHEMA)


def survey_pool(
    pool: PoolConfig,
    *,
    protected: Sequence[ProtectedQuestion],
    config: DecontaminationConfig,
    settings: RayScreeningConfig,
    findings: PoolFindings,
) -> None:
    """Hand the surveys of every question of a pool to ``findings``; Ray must be running.

    Args:
        pool: Of rows and generators; its files need be on this node alone.
        protected: The benchmarks' questions.
        config: What the surveys are for.
        settings: How the work is divided.
        findings: Takes the surveys in the pool's order.

    Raises:
        ValueError: A source's files are missing.
    """
    context = DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    surveyed = _read_sources(pool, settings=settings).map_batches(
        SurveyWorker,
        fn_constructor_args=(protected, config),
        batch_size=settings.rows_per_batch,
        batch_format="pyarrow",
        num_cpus=settings.worker_cpus,
        compute=ActorPoolStrategy(min_size=1),
    )
    for batch in surveyed.iter_batches(batch_size=None, batch_format="pyarrow"):
        findings.add(_read_surveys(cast(pa.Table, batch)))


def _read_sources(pool: PoolConfig, *, settings: RayScreeningConfig) -> Dataset:
    """Return the questions as tasks on this node read them: other nodes need not have the files."""
    names, found = list(pool.sources), Pool(pool)
    here = ray.get_runtime_context().get_node_id()

    def read(batch: dict[str, Any]) -> Iterator[pa.Table]:
        for name in batch["source"]:
            yield from _read_texts(found, name=str(name), size=settings.rows_per_batch)

    sources = ray.data.from_items(
        [{"source": name} for name in names], override_num_blocks=len(names)
    )
    return sources.map_batches(
        read,
        batch_size=1,
        batch_format="numpy",
        num_cpus=min(settings.reader_cpus, _count_cpus(here)),
        label_selector={NODE_LABEL: here},
        compute=TaskPoolStrategy(),
    )


def _count_cpus(node_id: str) -> float:
    """Return the CPUs that a node offers: none where it is a head that is to do no work."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return next(
        float(node["Resources"].get("CPU", 0.0)) for node in nodes if node["NodeID"] == node_id
    )


def _read_texts(pool: Pool, *, name: str, size: int) -> Iterator[pa.Table]:
    """Yield the questions of one source, so many at a time."""
    items = (row for row in pool.read(name) if isinstance(row, PoolItem))
    while rows := list(islice(items, size)):
        yield pa.table(
            {
                "origin": [item.origin for item in rows],
                "text": [item.trace.question.text for item in rows],
            }
        )


def _read_surveys(batch: pa.Table) -> Iterator[SurveyedItem]:
    for row in batch.to_pylist():
        origin, ngrams = row.pop("origin"), tuple(row.pop("ngrams"))
        yield SurveyedItem(origin=origin, survey=Survey(**row, ngrams=ngrams))
