"""Exports: transformers and peft load them whole, and compute what was trained."""

import errno
import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from s1ray.config.checkpoint import ExportDtype
from s1ray.model_source.fingerprint import fingerprint_model
from s1ray.model_source.model_directory import check_model_directory, load_tokenizer
from s1ray.training.checkpoints.peers import join_peers
from s1ray.training.export import export_adapter, export_model
from s1ray.training.loop import TrainState
from tests.fakes import full_disk, write_tiny_qwen2
from tests.training.checkpoint_runs import LORA_TRAINING, PEFT_ASKS_TRANSFORMERS, advance, start
from tests.training.plain_loop import make_training

pytestmark = PEFT_ASKS_TRANSFORMERS
IDS = torch.tensor([[1, 5, 9, 60, 33]])
PEERS = join_peers(timeout_seconds=60)
WHOLE_GIB = 1.0
BFLOAT16_BASE = make_training(
    num_epochs=2,
    compute_dtype="bfloat16",
    lora={"rank": 3, "alpha": 5.0, "targets": ["v_proj", "up_proj"], "base_dtype": "bfloat16"},
)


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_qwen2(
        tmp_path_factory.mktemp("model"), tie_word_embeddings=bool(request.param)
    )


def export(
    state: TrainState,
    target: Path,
    source: Path,
    *,
    dtype: ExportDtype = ExportDtype.MODEL,
    shard_gib: float = WHOLE_GIB,
) -> Path:
    export_model(state.model, target, source=source, dtype=dtype, shard_gib=shard_gib, peers=PEERS)
    return target


def reload_logits(directory: Path) -> Tensor:
    model, loading = AutoModelForCausalLM.from_pretrained(directory, output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    with torch.no_grad():
        return model(IDS).logits


def compute_logits(state: TrainState) -> Tensor:
    """What the trained weights say, through transformers' own attention."""
    causal_lm = state.model.causal_lm
    causal_lm.set_attn_implementation("sdpa")
    with torch.no_grad():
        return causal_lm(IDS).logits


def test_export_reloads_whole_and_computes_what_was_trained(tmp_path: Path, source: Path) -> None:
    state = advance(start(source), 3)
    target = export(state, tmp_path / "export", source)

    torch.testing.assert_close(reload_logits(target), compute_logits(state))
    before, after = fingerprint_model(source), fingerprint_model(target)
    assert before.weights != after.weights
    assert (before.tokenizer, before.chat_template) == (after.tokenizer, after.chat_template)
    assert load_tokenizer(target).eos_token_id == load_tokenizer(source).eos_token_id
    assert (target / "generation_config.json").read_bytes() == (
        source / "generation_config.json"
    ).read_bytes()
    names = load_file(target / "model.safetensors").keys()
    assert ("lm_head.weight" in names) == (
        "lm_head.weight" in load_file(source / "model.safetensors")
    )


def test_export_of_an_untrained_model_is_the_model(tmp_path: Path, source: Path) -> None:
    target = export(start(source), tmp_path / "export", source)
    assert fingerprint_model(target).weights == fingerprint_model(source).weights


def test_export_in_shards_holds_the_same_weights(tmp_path: Path, source: Path) -> None:
    state = advance(start(source), 1)
    whole = export(state, tmp_path / "whole", source)
    parts = export(state, tmp_path / "parts", source, shard_gib=80_000 / 2**30)

    check_model_directory(parts)
    files = sorted(parts.glob("model-*.safetensors"))
    assert len(files) > 2
    assert files[0].name == f"model-00001-of-{len(files):05d}.safetensors"
    assert fingerprint_model(parts).weights == fingerprint_model(whole).weights
    assert torch.equal(reload_logits(parts), reload_logits(whole))
    index = json.loads((parts / "model.safetensors.index.json").read_text(encoding="utf-8"))
    assert index["metadata"]["total_size"] == sum(
        tensor.nbytes for file in files for tensor in load_file(file).values()
    )


def test_export_in_bfloat16_says_so_and_rounds_once(tmp_path: Path, source: Path) -> None:
    state = advance(start(source), 1)
    exact = load_file(export(state, tmp_path / "exact", source) / "model.safetensors")
    target = export(state, tmp_path / "half", source, dtype=ExportDtype.BFLOAT16)
    half = load_file(target / "model.safetensors")
    assert all(torch.equal(half[name], exact[name].bfloat16()) for name in exact)
    assert AutoModelForCausalLM.from_pretrained(target, dtype="auto").dtype == torch.bfloat16


def test_export_replaces_an_older_one_whole(tmp_path: Path, source: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "model-00009-of-00009.safetensors").write_bytes(b"old")
    export(start(source), tmp_path / "export", source)
    assert not (tmp_path / "export" / "model-00009-of-00009.safetensors").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_export_on_a_full_disk_keeps_the_older_one(tmp_path: Path, source: Path) -> None:
    target = export(start(source), tmp_path / "export", source)
    before = fingerprint_model(target)
    state = advance(start(source), 1)
    with full_disk(limit_bytes=50_000), pytest.raises(OSError, match="the disk is full") as caught:
        export(state, target, source)
    assert caught.value.errno == errno.ENOSPC
    assert fingerprint_model(target) == before
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


@pytest.mark.parametrize("training", [LORA_TRAINING, BFLOAT16_BASE], ids=["float32", "bfloat16"])
def test_adapter_merged_by_us_equals_peft_with_the_adapter_and_peft_merged(
    tmp_path: Path, source: Path, training: object
) -> None:
    state = advance(start(source, training=training), 4, training=training)  # type: ignore[arg-type]
    merged = export(state, tmp_path / "merged", source, dtype=ExportDtype.FLOAT32)
    export_adapter(
        state.model,
        tmp_path / "adapter",
        source=source,
        base_model=str(source),
        base_revision=None,
        peers=PEERS,
    )

    dtype = torch.float32 if training is LORA_TRAINING else torch.bfloat16
    base = AutoModelForCausalLM.from_pretrained(source, dtype=dtype).float()
    plain = base(IDS).logits
    adapted = PeftModel.from_pretrained(base, tmp_path / "adapter")
    with_adapter = adapted(IDS).logits
    torch.testing.assert_close(reload_logits(merged), with_adapter)
    torch.testing.assert_close(adapted.merge_and_unload()(IDS).logits, reload_logits(merged))
    assert not torch.allclose(plain, with_adapter)
    assert load_tokenizer(tmp_path / "adapter").eos_token_id is not None


def test_adapter_export_of_a_wholly_trained_model_is_refused(tmp_path: Path, source: Path) -> None:
    with pytest.raises(ValueError, match=r"no adapter to export.*export_model, or set training.l"):
        export_adapter(
            start(source).model,
            tmp_path / "adapter",
            source=source,
            base_model="x",
            base_revision=None,
            peers=PEERS,
        )
