"""Checkpoints that are damaged or never became whole: a run goes on from the one before."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from s1ray.training.checkpoints.search import choose_checkpoint, find_newest_checkpoint
from tests.fakes import full_disk
from tests.training.checkpoint_runs import advance, find_difference, load, read_tensors, save, start

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize("damage", ["truncate", "remove", "flip", "manifest"])
def test_damaged_checkpoint_falls_back_and_still_ends_with_the_same_bits(
    tmp_path: Path, model: Path, damage: str
) -> None:
    state = advance(start(model), 2)
    good = save(state, tmp_path)
    bad = save(advance(state, 1), tmp_path)
    expected = read_tensors(advance(state, None))
    shard = bad / "__0_0.distcp"
    match damage:
        case "truncate":
            os.truncate(shard, 1000)
        case "remove":
            shard.unlink()
        case "flip":
            content = bytearray(shard.read_bytes())
            content[len(content) // 2] ^= 4
            shard.write_bytes(content)
        case "manifest":
            os.truncate(bad / "manifest.json", 50)

    search = choose_checkpoint(tmp_path, resume="auto", num_threads=2)

    assert search.newest is not None
    assert search.newest.path == str(good)
    assert [item.path for item in search.passed_over] == [str(bad)]
    resumed = load(start(model), Path(search.newest.path))
    again = save(advance(resumed, 1), tmp_path)
    assert again.name == "step_00000003.a1"
    assert find_difference(expected, read_tensors(advance(resumed, None))) is None


def test_sigkill_between_payload_and_manifest_costs_one_checkpoint(
    tmp_path: Path, model: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.checkpoint_runs", str(model), str(tmp_path)],
        cwd=REPOSITORY,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == -signal.SIGKILL
    orphan = tmp_path / "step_00000003.a0"
    assert (orphan / ".metadata").exists()

    search = choose_checkpoint(tmp_path, resume="auto", num_threads=1)

    assert search.newest is not None
    assert search.newest.step == 2
    assert search.passed_over == ()
    assert not orphan.exists()
    state = advance(load(start(model), Path(search.newest.path)), None)
    assert find_difference(read_tensors(advance(start(model), None)), read_tensors(state)) is None


def test_full_disk_leaves_the_previous_checkpoint_and_the_run_can_go_on(
    tmp_path: Path, model: Path
) -> None:
    state = advance(start(model), 1)
    good = save(state, tmp_path)
    advance(state, 1)
    with full_disk(limit_bytes=50_000), pytest.raises(OSError, match="the disk is full") as caught:
        save(state, tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == [good.name]
    newest = find_newest_checkpoint(tmp_path, num_threads=1).newest
    assert newest is not None
    assert newest.path == str(good)
    expected = read_tensors(state)
    assert (
        find_difference(expected, read_tensors(load(start(model), save(state, tmp_path)))) is None
    )


def test_full_disk_at_the_manifest_leaves_no_checkpoint(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("s1ray.training.checkpoints.checkpoint.write_manifest", fail)
    with pytest.raises(OSError, match="the disk is full"):
        save(start(model), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_payload_that_cannot_be_written_is_an_ordinary_error(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch raises a BaseException, which would pass every handler on its way out."""
    monkeypatch.setattr(
        "tests.training.checkpoint_runs.name_checkpoint",
        lambda directory, **_: directory / "file",
    )
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"could not be written; earlier checkpoints are unto"):
        save(start(model), tmp_path)
