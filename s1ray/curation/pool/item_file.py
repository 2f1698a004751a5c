"""Pool items in a temporary file: a sequence of any length in a few bytes of memory for each.

The file has no name, so that nothing else can write it, and is gone when it is let go.
"""

import pickle
from collections.abc import Iterable, Iterator, Sequence
from tempfile import TemporaryFile
from typing import overload

from s1ray.curation.pool.items import PoolItem


class ItemFile(Sequence[PoolItem]):
    """Items as they were given, read again whenever they are looked at; close it after use."""

    def __init__(self, items: Iterable[PoolItem]) -> None:
        """Take all items; they may be more than fit into memory."""
        self._file = TemporaryFile()  # noqa: SIM115 - closed by close()
        self._offsets: list[int] = []
        for item in items:
            self._offsets.append(self._file.tell())
            pickle.dump(item, self._file)

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, place: int) -> PoolItem: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[PoolItem]: ...
    def __getitem__(self, place: int | slice) -> PoolItem | Sequence[PoolItem]:
        """Read the item at a place, or those of a slice."""
        if isinstance(place, slice):
            return [self[index] for index in range(*place.indices(len(self)))]
        self._file.seek(self._offsets[place])
        item: PoolItem = pickle.load(self._file)
        return item

    def __iter__(self) -> Iterator[PoolItem]:
        """Read the items in order."""
        for place in range(len(self)):
            yield self[place]

    def close(self) -> None:
        """Delete the file."""
        self._file.close()
