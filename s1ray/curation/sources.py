"""Where pool items come from: generators and files, as configuration declares them.

It does not know what later steps keep.
"""

from collections.abc import Iterator

from s1ray.config.pool import PoolConfig, RunningSumsSourceConfig
from s1ray.curation.items import PoolItem
from s1ray.curation.running_sums import generate_running_sums


def read_pool(config: PoolConfig) -> Iterator[PoolItem]:
    """Yield every source's items, in the order of the sources."""
    for name, source in config.sources.items():
        yield from generate_items(source, name=name)


def generate_items(source: RunningSumsSourceConfig, *, name: str) -> Iterator[PoolItem]:
    """Yield the items of a generator."""
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
        yield PoolItem(trace=trace, origin=f"{name}:{number}", level=None)
