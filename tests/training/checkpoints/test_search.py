"""Which checkpoint a run goes on from, and which are deleted: without tensors."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from s1ray.training.checkpoints.commit import (
    MANIFEST_FILE,
    CheckpointKind,
    name_checkpoint,
    read_manifest,
    write_manifest,
)
from s1ray.training.checkpoints.search import (
    apply_retention,
    choose_checkpoint,
    find_newest_checkpoint,
    remove_orphans,
)
from tests.training.checkpoints.commits import PAYLOAD, commit, make_manifest


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("truncate", "__0_0.distcp has 100 bytes, not 320"),
        ("remove", "__0_0.distcp is missing"),
        ("flip", "__0_0.distcp has another sha256"),
    ],
)
def test_damaged_payload_is_passed_over_for_the_previous_good_one(
    tmp_path: Path, damage: str, reason: str
) -> None:
    good, bad = commit(tmp_path, step=9), commit(tmp_path, step=10)
    shard = bad / "__0_0.distcp"
    if damage == "truncate":
        shard.write_bytes(PAYLOAD[:100])
    elif damage == "remove":
        shard.unlink()
    else:
        shard.write_bytes(PAYLOAD[:-1] + bytes([PAYLOAD[-1] ^ 1]))

    search = find_newest_checkpoint(tmp_path, num_threads=2)

    assert search.newest is not None
    assert (search.newest.path, search.newest.step) == (str(good), 9)
    assert [item.path for item in search.passed_over] == [str(bad)]
    assert reason in search.passed_over[0].reason


def link_to_broken_disk(path: Path) -> None:
    """Put in a file's place one that has 0 bytes and opens, and whose reading is an I/O error."""
    path.unlink()
    path.symlink_to("/proc/self/mem")


def link_to_itself(path: Path) -> None:
    """Make even asking for a file an error."""
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (link_to_broken_disk, r"manifest\.json cannot be read: .*Input/output error"),
        (link_to_itself, r"manifest\.json cannot be read: .*Too many levels"),
    ],
)
def test_checkpoint_whose_manifest_cannot_be_read_is_passed_over_and_stays(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    good, bad = commit(tmp_path, step=9), commit(tmp_path, step=10)
    spoil(bad / MANIFEST_FILE)

    search = choose_checkpoint(tmp_path, resume="auto", num_threads=2)
    apply_retention(tmp_path, committed=good, keep_permanent=None, keep_temporary=1)

    assert search.newest is not None
    assert search.newest.path == str(good)
    assert re.match(reason, search.passed_over[0].reason)
    assert bad.exists()


def test_checkpoint_whose_payload_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    good, bad = commit(tmp_path, step=9), name_checkpoint(tmp_path, step=10)
    for name in ("__0_0.distcp", ".metadata"):
        (bad / name).touch()
    write_manifest(bad, make_manifest(bad, step=10, kind=CheckpointKind.PERMANENT))
    link_to_broken_disk(bad / "__0_0.distcp")

    search = choose_checkpoint(tmp_path, resume="auto", num_threads=2)

    assert search.newest is not None
    assert search.newest.path == str(good)
    assert re.match(r"__0_0\.distcp cannot be read: .*I", search.passed_over[0].reason)


def test_newest_is_by_step_then_by_attempt_not_by_name_or_time(tmp_path: Path) -> None:
    for step in (100_000_000, 9, 99_999_999):
        commit(tmp_path, step=step)
    again = commit(tmp_path, step=100_000_000)
    assert again.name == "step_100000000.a1"
    newest = find_newest_checkpoint(tmp_path, num_threads=1).newest
    assert newest is not None
    assert newest.path == str(again)


def test_choice_auto_removes_what_was_never_committed(tmp_path: Path) -> None:
    good = commit(tmp_path, step=1)
    orphan = name_checkpoint(tmp_path, step=2)
    (orphan / "__0_0.distcp").write_bytes(b"half")
    (orphan / "manifest.json.draft").write_text("{", encoding="utf-8")

    search = choose_checkpoint(tmp_path, resume="auto", num_threads=1)

    assert search.newest is not None
    assert search.newest.path == str(good)
    assert not orphan.exists()
    assert remove_orphans(tmp_path) == ()


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_choice_auto_without_checkpoints_starts_from_the_beginning(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    assert choose_checkpoint(tmp_path / name, resume="auto", num_threads=1).newest is None


def test_choice_must_without_a_good_checkpoint_says_why(tmp_path: Path) -> None:
    bad = commit(tmp_path, step=1)
    (bad / "__0_0.distcp").unlink()
    with pytest.raises(
        ValueError, match=r"resume=must.*no good checkpoint.*distcp is missing.*auto"
    ):
        choose_checkpoint(tmp_path, resume="must", num_threads=1)


def test_choice_never_starts_over(tmp_path: Path) -> None:
    commit(tmp_path / "checkpoints", step=1)
    search = choose_checkpoint(tmp_path / "checkpoints", resume="never", num_threads=1)
    assert search.newest is None
    assert not (tmp_path / "checkpoints").exists()


def test_choice_of_a_path_takes_that_one_or_says_why_not(tmp_path: Path) -> None:
    earlier, wanted, later = [commit(tmp_path, step=step) for step in (1, 2, 3)]
    newest = choose_checkpoint(tmp_path, resume=str(wanted), num_threads=1).newest
    assert newest is not None
    assert (newest.step, newest.samples_consumed) == (2, 8)
    assert earlier.exists()
    assert not later.exists()
    (wanted / ".metadata").write_bytes(b"METADATA")
    with pytest.raises(ValueError, match=r"metadata has another sha256.*Legal: auto, must, never"):
        choose_checkpoint(tmp_path, resume=str(wanted), num_threads=1)
    with pytest.raises(ValueError, match=r"has no manifest.json, so it was never committed"):
        choose_checkpoint(tmp_path, resume=str(tmp_path / "elsewhere"), num_threads=1)


def test_retention_keeps_the_newest_of_each_kind(tmp_path: Path) -> None:
    for step in range(1, 11):
        kind = CheckpointKind.PERMANENT if step % 4 == 0 else CheckpointKind.TEMPORARY
        last = commit(tmp_path, step=step, kind=kind)

    removed = apply_retention(tmp_path, committed=last, keep_permanent=None, keep_temporary=2)

    assert len(removed) == 6
    left = sorted(read_manifest(path).step for path in tmp_path.iterdir())
    assert left == [4, 8, 9, 10]
    apply_retention(tmp_path, committed=last, keep_permanent=1, keep_temporary=1)
    assert sorted(read_manifest(path).step for path in tmp_path.iterdir()) == [8, 10]


def test_retention_counts_no_checkpoint_of_a_future_that_was_given_up(tmp_path: Path) -> None:
    origin = commit(tmp_path, step=10)
    damaged = [commit(tmp_path, step=step) for step in (20, 21)]
    lasting = commit(tmp_path, step=30, kind=CheckpointKind.PERMANENT)
    committed = commit(tmp_path, step=12)

    removed = apply_retention(tmp_path, committed=committed, keep_permanent=1, keep_temporary=2)
    assert removed == tuple(damaged)
    assert set(tmp_path.iterdir()) == {origin, lasting, committed}

    past = commit(tmp_path, step=30, kind=CheckpointKind.PERMANENT)
    apply_retention(tmp_path, committed=past, keep_permanent=1, keep_temporary=2)
    assert set(tmp_path.iterdir()) == {origin, committed, past}


def test_retention_leaves_what_it_cannot_read(tmp_path: Path) -> None:
    torn = commit(tmp_path, step=1)
    (torn / MANIFEST_FILE).write_text("{", encoding="utf-8")
    commit(tmp_path, step=2)
    last = commit(tmp_path, step=3)
    apply_retention(tmp_path, committed=last, keep_permanent=None, keep_temporary=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [torn.name, "step_00000003.a0"]


def test_checkpoint_that_cannot_be_deleted_whole_ends_neither_training_nor_the_next_start(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "checkpoints"
    stubborn = directory / commit(tmp_path / "elsewhere", step=1).name
    directory.mkdir()
    stubborn.symlink_to(tmp_path / "elsewhere" / stubborn.name)  # no tree to remove, says Python
    kept = commit(directory, step=2)

    removed = apply_retention(directory, committed=kept, keep_permanent=None, keep_temporary=1)
    newest = choose_checkpoint(directory, resume="auto", num_threads=1).newest

    assert removed == (stubborn,)
    assert not (stubborn / MANIFEST_FILE).exists()
    assert newest is not None
    assert newest.path == str(kept)
