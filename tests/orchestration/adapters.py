"""Adapters as PEFT writes them, of a few equal values: what is read of one before it is used."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from s1ray.model_source.fingerprint import ADAPTER_WEIGHTS_FILE
from s1ray.model_source.model_directory import ADAPTER_CONFIG_FILE


def write_adapter(
    directory: Path, *, value: float = 1.0, rank: int = 4, base_path: str = "here"
) -> Path:
    """Write an adapter of some values, rank and base into a new directory."""
    directory.mkdir()
    settings = {"base_model_name_or_path": base_path, "revision": None, "r": rank}
    (directory / ADAPTER_CONFIG_FILE).write_text(json.dumps(settings), encoding="utf-8")
    save_file({"a": torch.full((3,), value)}, directory / ADAPTER_WEIGHTS_FILE)
    return directory
