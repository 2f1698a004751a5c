"""Fingerprints: they change with the model, and with nothing else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from s1ray.model_source.fingerprint import fingerprint_model
from tests.fakes import write_tiny_qwen2
from tests.model_source.sources import split_weights


def test_fingerprint_ignores_place_shards_and_metadata(tmp_path: Path) -> None:
    directory = write_tiny_qwen2(tmp_path / "model")
    before = fingerprint_model(directory)
    moved = Path(shutil.copytree(directory, tmp_path / "elsewhere"))
    split_weights(moved)
    config = json.loads((moved / "config.json").read_text(encoding="utf-8"))
    (moved / "config.json").write_text(
        json.dumps({**config, "transformers_version": "9", "_name_or_path": "x"}), encoding="utf-8"
    )
    assert fingerprint_model(moved) == before


@pytest.mark.parametrize("part", ["config", "weights", "tokenizer", "chat_template"])
def test_fingerprint_changes_only_where_the_model_changed(tmp_path: Path, part: str) -> None:
    directory = write_tiny_qwen2(tmp_path / "model")
    before = fingerprint_model(directory)
    edits: dict[str, Callable[[], object]] = {
        "config": lambda: _edit(
            directory / "config.json", '"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'
        ),
        "weights": lambda: _nudge_weights(directory),
        "tokenizer": lambda: _edit(
            directory / "tokenizer_config.json", '"<|im_end|>"', '"<|endoftext|>"'
        ),
        "chat_template": lambda: _edit(directory / "chat_template.jinja", "Be right.", "Be quick."),
    }
    edits[part]()
    after = fingerprint_model(directory)
    changed = [
        name
        for name in ("config", "weights", "tokenizer", "chat_template")
        if getattr(before, name) != getattr(after, name)
    ]
    assert changed == [part]


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def _nudge_weights(directory: Path) -> None:
    weights = load_file(directory / "model.safetensors")
    weights["model.norm.weight"][7] += 1e-3
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
