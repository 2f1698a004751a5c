"""Checkpoints: the same bits after resuming, on any number of ranks."""

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from s1ray.config.training import TrainingConfig
from s1ray.training.checkpoints.commit import read_manifest
from tests.fakes import write_tiny_qwen2
from tests.training.checkpoint_runs import (
    LORA_TRAINING,
    PEFT_ASKS_TRANSFORMERS,
    TRAINING,
    advance,
    find_difference,
    load,
    read_tensors,
    save,
    start,
    work_on_two_ranks,
)
from tests.training.plain_loop import make_optimizer, make_sharding, make_training
from tests.training.ranks import run_on_ranks

pytestmark = PEFT_ASKS_TRANSFORMERS
BFLOAT16_MOMENTS = make_training(num_epochs=2, optimizer=make_optimizer(moments_dtype="bfloat16"))


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


def test_checkpoint_that_was_moved_still_loads(tmp_path: Path, model: Path) -> None:
    state = advance(start(model), 1)
    moved = shutil.move(save(state, tmp_path / "here"), tmp_path / "there")
    assert find_difference(read_tensors(state), read_tensors(load(start(model), moved))) is None


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
