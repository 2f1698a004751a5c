from contextlib import closing

import pytest

from s1ray.curation.pool.item_file import ItemFile
from tests.curation.made import make_item


def test_items_are_read_as_they_were_written_in_any_order() -> None:
    items = [make_item(f"question {number} \u2028 \u00e9", level=number) for number in range(20)]

    with closing(ItemFile(iter(items))) as kept:
        assert list(kept) == items == list(kept)
        assert [kept[place] for place in (7, 0, -1)] == [items[7], items[0], items[-1]]
        assert kept[3:9:2] == items[3:9:2]
        assert len(kept) == 20


def test_a_place_beyond_the_end_is_an_index_error() -> None:
    with closing(ItemFile([])) as kept, pytest.raises(IndexError):
        kept[0]
