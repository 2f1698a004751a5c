"""Checkpoints: the same bits after resuming, on any number of ranks, whatever breaks."""

import errno
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM

from s1ray.config.training import TrainingConfig
from s1ray.training.checkpoints.commit import read_manifest
from s1ray.training.checkpoints.search import choose_checkpoint, find_newest_checkpoint
from tests.fakes import full_disk, tiny_shape, write_tiny_qwen2
from tests.training.checkpoint_runs import (
    IDENTITY,
    LORA_TRAINING,
    TRAINING,
    advance,
    load,
    read_tensors,
    save,
    start,
    work_on_two_ranks,
)
from tests.training.plain_loop import make_optimizer, make_sharding, make_training
from tests.training.ranks import run_on_ranks

pytestmark = pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"  # peft asks transformers
)
REPOSITORY = Path(__file__).parents[3]
BFLOAT16_MOMENTS = make_training(num_epochs=2, optimizer=make_optimizer(moments_dtype="bfloat16"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_qwen2(tmp_path_factory.mktemp("model"))


def find_difference(expected: dict[str, Tensor], found: dict[str, Tensor]) -> str | None:
    if expected.keys() != found.keys():
        return f"names: {sorted(expected.keys() ^ found.keys())}"
    unequal = [name for name in expected if not torch.equal(expected[name], found[name])]
    return unequal[0] if unequal else None


@pytest.mark.parametrize(
    ("training", "num_steps"),
    [(TRAINING, 2), (TRAINING, 3), (BFLOAT16_MOMENTS, 2), (LORA_TRAINING, 4)],
    ids=["mid-epoch", "epoch boundary", "bfloat16 moments", "lora"],
)
def test_resumed_run_ends_with_the_bits_of_the_uninterrupted_one(
    tmp_path: Path, model: Path, training: TrainingConfig, num_steps: int
) -> None:
    expected = read_tensors(advance(start(model, training=training), None, training=training))
    first = advance(start(model, training=training), num_steps, training=training)
    checkpoint = save(first, tmp_path)

    second = load(start(model, training=training), checkpoint)
    assert (second.step, second.samples_consumed) == (first.step, first.samples_consumed)
    assert find_difference(read_tensors(first), read_tensors(second)) is None
    advance(second, None, training=training)

    assert second.step == 6
    assert find_difference(expected, read_tensors(second)) is None


def test_resumed_run_with_tied_embeddings_holds_them_once(tmp_path: Path) -> None:
    tied = write_tiny_qwen2(tmp_path / "model", tie_word_embeddings=True)
    expected = read_tensors(advance(start(tied), None))
    checkpoint = save(advance(start(tied), 2), tmp_path / "checkpoints")
    state = load(start(tied), checkpoint)
    names = read_tensors(state).keys()
    assert not [name for name in names if "lm_head" in name]
    assert find_difference(expected, read_tensors(advance(state, None))) is None


def test_adapter_checkpoint_holds_the_adapter_alone(tmp_path: Path, model: Path) -> None:
    state = advance(start(model, training=LORA_TRAINING), 1, training=LORA_TRAINING)
    assert all(".lora_" in name for name in read_tensors(state))
    num_bytes = sum(
        record.num_bytes for record in read_manifest(save(state, tmp_path)).files.values()
    )
    assert num_bytes < (model / "model.safetensors").stat().st_size / 2


def test_wrapping_for_activation_checkpoints_changes_no_name(tmp_path: Path, model: Path) -> None:
    checkpoint = save(advance(start(model), 2), tmp_path)
    wrapped = make_sharding(activation_checkpointing="full")
    state = load(start(model, sharding=wrapped), checkpoint)
    advance(state, None, sharding=wrapped)
    assert find_difference(read_tensors(advance(start(model), None)), read_tensors(state)) is None


def test_random_generators_go_on_where_they_were(tmp_path: Path, model: Path) -> None:
    state = start(model)
    torch.manual_seed(3)
    checkpoint = save(state, tmp_path)
    expected = torch.rand(4)
    torch.manual_seed(99)
    load(start(model), checkpoint)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.slow
def test_two_ranks_and_one_read_each_other(tmp_path: Path, model: Path) -> None:
    single = save(advance(start(model), 3), tmp_path / "single")
    ours = read_tensors(load(start(model), single))
    one_end = read_tensors(advance(load(start(model), single), None))

    first, second = run_on_ranks(2, tmp_path, work_on_two_ranks, model, tmp_path, single)

    for rank in (first, second):
        assert find_difference(rank["uninterrupted"], rank["resumed"]) is None
        assert find_difference(ours, rank["from_single"]) is None
    state = load(start(model), Path(first["checkpoint"]))
    assert find_difference(first["at_save"], read_tensors(state)) is None
    advance(state, None)
    # Two ranks sum gradients in another order than one.
    for expected, found in (
        (first["uninterrupted"], read_tensors(state)),
        (one_end, first["from_single_end"]),
    ):
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, atol=2e-5, rtol=1e-3, msg=name)
    _check_two_rank_saver(tmp_path, first, second)
    _check_two_rank_export(tmp_path, model, first)


def _check_two_rank_saver(directory: Path, first: dict[str, Any], second: dict[str, Any]) -> None:
    assert first["stop"] == second["stop"]
    assert [stopping for stopping, _ in first["stop"]] == [False, False, True]
    assert [step for _, steps in first["stop"] for step in steps] == [2, 3]
    assert read_manifest(directory / "pair" / "step_00000003.a0").world_size == 2
    for rank in (first, second):
        assert rank["full_disk"].startswith(f"{errno.ENOSPC} ")
        assert "the disk is full" in rank["full_disk"]
    assert list((directory / "full").iterdir()) == []


def _check_two_rank_export(directory: Path, model: Path, first: dict[str, Any]) -> None:
    exported, loading = AutoModelForCausalLM.from_pretrained(
        directory / "export", output_loading_info=True
    )
    assert not loading["missing_keys"]
    assert len(list((directory / "export").glob("model-*-of-*.safetensors"))) > 1
    weights = exported.state_dict()
    for name, tensor in first["uninterrupted"].items():
        if name.startswith("model.language_model."):
            assert torch.equal(weights[name.removeprefix("model.language_model.")], tensor)
    ids = torch.tensor([[1, 5, 9, 60]])
    base = AutoModelForCausalLM.from_pretrained(model)
    plain = base(ids).logits
    adapted = PeftModel.from_pretrained(base, directory / "adapter")
    merged = AutoModelForCausalLM.from_pretrained(directory / "merged")
    torch.testing.assert_close(merged(ids).logits, adapted(ids).logits)
    assert not torch.allclose(merged(ids).logits, plain)


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


def test_checkpoint_of_another_shape_or_kind_is_refused(tmp_path: Path, model: Path) -> None:
    checkpoint = save(advance(start(model), 1), tmp_path / "checkpoints")
    wider = write_tiny_qwen2(
        tmp_path / "wider", intermediate_size=tiny_shape().intermediate_size + 8
    )
    with pytest.raises(
        ValueError, match=r"another model.*down_proj.*\(64, 136\), checkpoint: \(64, 128\)"
    ):
        load(start(wider), checkpoint)
    with pytest.raises(ValueError, match=r"holds another model.*training.lora"):
        load(start(model, training=LORA_TRAINING), checkpoint)


def test_checkpoint_of_another_run_is_refused_unless_allowed(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = save(start(model), tmp_path)
    monkeypatch.setitem(IDENTITY, "data", "d2")
    with pytest.raises(ValueError, match=r"data is d2 and was d1.*allow_drift=\[data\]"):
        load(start(model), checkpoint)


def test_checkpoint_that_was_moved_still_loads(tmp_path: Path, model: Path) -> None:
    state = advance(start(model), 1)
    moved = shutil.move(save(state, tmp_path / "here"), tmp_path / "there")
    assert find_difference(read_tensors(state), read_tensors(load(start(model), moved))) is None


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("ran",))


@pytest.mark.parametrize("content", [pickle.dumps(_Runs()), b"", b"no pickle at all"])
def test_metadata_from_outside_is_not_run(
    tmp_path: Path, model: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = save(start(model), tmp_path)
    (checkpoint / ".metadata").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"metadata cannot be read.*checkpoint.resume=auto"):
        load(start(model), checkpoint)
    assert not (tmp_path / "ran").exists()


def test_unreadable_payload_is_an_ordinary_error(tmp_path: Path, model: Path) -> None:
    checkpoint = save(advance(start(model), 1), tmp_path)
    os.truncate(checkpoint / "__0_0.distcp", 100)
    with pytest.raises(RuntimeError, match=r"cannot be read.*checkpoint.resume=auto"):
        load(start(model), checkpoint)
