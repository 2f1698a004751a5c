"""Loading a model directory for training, whole and in slices."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PhiConfig

from s1ray.training.network.model import (
    PackedLanguageModel,
    create_causal_lm,
    file_name,
    find_decoder_layers,
    load_weights,
    materialize,
)
from tests.training.plain_loop import SHAPE, save_tiny_model

CPU = torch.device("cpu")


def load(path: Path) -> PackedLanguageModel:
    model = PackedLanguageModel(create_causal_lm(path, dtype=torch.float32), loss_chunk_tokens=8)
    materialize(model, device=CPU, is_offloaded=False)
    load_weights(model, path)
    return model


@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("architecture", ["qwen2", "llama"])
def test_loaded_model_holds_what_transformers_loads(
    tmp_path: Path, *, is_tied: bool, architecture: str
) -> None:
    save_tiny_model(tmp_path, is_tied=is_tied, architecture=architecture)
    oracle = AutoModelForCausalLM.from_pretrained(tmp_path)

    causal_lm = load(tmp_path).causal_lm

    expected, loaded = oracle.state_dict(), causal_lm.state_dict()
    assert expected.keys() == loaded.keys()
    assert all(torch.equal(expected[name], loaded[name]) for name in expected)
    rotary = causal_lm.get_decoder().rotary_emb
    assert torch.equal(rotary.inv_freq, oracle.get_decoder().rotary_emb.inv_freq)
    tied = causal_lm.get_output_embeddings().weight is causal_lm.get_input_embeddings().weight
    assert tied == is_tied


def test_model_in_several_files_is_loaded_by_its_index(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, is_tied=True)
    expected = load(tmp_path).state_dict()
    split_weights(tmp_path)

    loaded = load(tmp_path).state_dict()

    assert all(torch.equal(expected[name], loaded[name]) for name in expected)


def split_weights(path: Path) -> None:
    weights = load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    index = {name: f"part-{number % 2}.safetensors" for number, name in enumerate(weights)}
    for file in set(index.values()):
        save_file({n: w for n, w in weights.items() if index[n] == file}, path / file)
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))


def test_weights_in_bfloat16_become_float32_masters(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, is_tied=True)
    weights = load_file(tmp_path / "model.safetensors")
    halved = {name: weight.bfloat16() for name, weight in weights.items()}
    save_file(halved, tmp_path / "model.safetensors")

    model = load(tmp_path)

    for name, parameter in model.named_parameters():
        assert parameter.dtype is torch.float32
        assert torch.equal(parameter, halved[file_name(name)].float())


def test_missing_weight_is_named(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, is_tied=True)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / "model.safetensors")

    with pytest.raises(ValueError, match=r"lacks 1 weights, the first is model\.norm\.weight"):
        load(tmp_path)


def test_weight_of_another_shape_is_named(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, is_tied=True)
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.norm.weight"] = torch.zeros(5)
    save_file(weights, tmp_path / "model.safetensors")

    with pytest.raises(
        ValueError, match=r"model\.norm\.weight has shape \(5,\) in the file, \(32,"
    ):
        load(tmp_path)


def test_directory_without_weights_is_refused(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, is_tied=True)
    (tmp_path / "model.safetensors").unlink()

    with pytest.raises(ValueError, match=r"lacks model\.safetensors"):
        load(tmp_path)


def test_head_with_a_bias_is_refused(tmp_path: Path) -> None:
    PhiConfig(**SHAPE).save_pretrained(tmp_path)

    with pytest.raises(ValueError, match="has a head with a bias"):
        create_causal_lm(tmp_path, dtype=torch.float32)


def test_body_without_layers_is_refused(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, is_tied=True)
    causal_lm = create_causal_lm(tmp_path, dtype=torch.float32)
    del causal_lm.get_decoder().layers

    with pytest.raises(ValueError, match="unknown place"):
        find_decoder_layers(causal_lm)
