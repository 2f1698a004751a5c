import os
from pathlib import Path

import pytest
from safetensors import SafetensorError

from s1ray.records import TokenizedExample
from s1ray.training.samples.examples import TokenizedSet
from s1ray.training.samples.token_cache import remember_examples
from tests.fakes import full_disk

MADE = TokenizedSet(
    examples=tuple(
        TokenizedExample(
            key=f"q{number}\u2028",
            input_ids=tuple(range(number, 151_665, 7_000 + number)),
            num_prompt_tokens=number,
            num_truncated_tokens=3 * number,
        )
        for number in range(5)
    ),
    num_truncated_samples=4,
    num_truncated_tokens=30,
    num_dropped_samples=2,
)


def _never() -> TokenizedSet:
    raise AssertionError("tokenised again")


def _make() -> TokenizedSet:
    return MADE


def test_a_set_is_made_once_and_read_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "new" / "set.safetensors"

    first = remember_examples(path, make=_make)

    assert first == MADE
    assert remember_examples(path, make=_never) == MADE
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("damage", ["other", "torn", "empty"])
def test_a_file_of_no_use_is_made_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "set.safetensors"
    other = tmp_path / "other.safetensors"
    remember_examples(other, make=_make)
    other.rename(path)
    if damage != "other":
        path.write_bytes(path.read_bytes()[: 100 if damage == "torn" else 0])

    assert remember_examples(path, make=_make) == MADE
    assert remember_examples(path, make=_never) == MADE


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    with pytest.raises(SafetensorError), full_disk(limit_bytes=100):
        remember_examples(tmp_path / "set.safetensors", make=_make)

    assert not list(tmp_path.iterdir())


def test_ranks_with_one_process_number_on_two_hosts_write_drafts_of_their_own(
    tmp_path: Path,
) -> None:
    path = tmp_path / "set.safetensors"
    (tmp_path / f".{path.name}.{os.getpid()}").mkdir()  # what the other host's rank is writing

    assert remember_examples(path, make=_make) == MADE
    assert remember_examples(path, make=_never) == MADE
