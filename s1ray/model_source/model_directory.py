"""A local Hugging Face directory: what it must hold, and its tokenizer.

It reads files and never a network; it does not know where the directory came from.
"""

import json
from pathlib import Path
from typing import cast

from safetensors import safe_open
from transformers import AutoTokenizer

from s1ray.chat_format import Tokenizer

WEIGHTS_FILE = "model.safetensors"
WEIGHTS_INDEX_FILE = "model.safetensors.index.json"
CHAT_TEMPLATE_FILE = "chat_template.jinja"
ADAPTER_CONFIG_FILE = "adapter_config.json"
ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"


def load_tokenizer(directory: Path) -> Tokenizer:
    """Return the transformers tokenizer of a model directory.

    Raises:
        ValueError: A tokenizer file or the chat template is missing.
    """
    check_tokenizer_files(directory)
    tokenizer = AutoTokenizer.from_pretrained(
        directory, local_files_only=True, trust_remote_code=False
    )
    # transformers types decode() as str | list[str]; for the ids of one text it is str.
    return cast(Tokenizer, tokenizer)


def check_model_directory(directory: Path) -> None:
    """Check that a directory holds a whole model.

    Raises:
        ValueError: It is absent, holds an adapter alone, or lacks the configuration, a weights
            file, a tokenizer file or the chat template.
    """
    if not directory.is_dir():
        raise ValueError(f"{directory} is not a directory. Set model.source to one that exists.")
    if not (directory / "config.json").is_file():
        if (directory / ADAPTER_CONFIG_FILE).is_file():
            raise ValueError(
                f"{directory} holds an adapter without its base model. To evaluate it, set target "
                "to it and leave model.source at its base; to train further on it, merge it on "
                "export (checkpoint.export.merge_adapter=true)."
            )
        raise ValueError(
            f"{directory} has no config.json, so it is no Hugging Face model directory. Set "
            "model.source to a directory that save_pretrained wrote."
        )
    list_weight_files(directory)
    check_tokenizer_files(directory)


def list_weight_files(directory: Path) -> list[Path]:
    """Return the safetensors files of a model, all of them present.

    Raises:
        ValueError: There are none, or one that the index names is missing.
    """
    weight_map = _read_weight_map(directory)
    names = {WEIGHTS_FILE} if weight_map is None else set(weight_map.values())
    files = [directory / name for name in sorted(names)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ValueError(
            f"{directory} lacks {', '.join(missing)}. Only safetensors weights are read (pickled "
            "weights can run code): fetch the missing files, or convert the model with "
            "save_pretrained(..., safe_serialization=True)."
        )
    return files


def index_weights(directory: Path) -> dict[str, Path]:
    """Return which file holds each weight of a model.

    Raises:
        ValueError: See ``list_weight_files``.
    """
    list_weight_files(directory)
    weight_map = _read_weight_map(directory)
    if weight_map is not None:
        return {name: directory / file for name, file in weight_map.items()}
    with safe_open(directory / WEIGHTS_FILE, framework="numpy") as weights:
        return dict.fromkeys(weights.keys(), directory / WEIGHTS_FILE)


def check_tokenizer_files(directory: Path) -> None:
    """Check that a directory holds a tokenizer with a chat template.

    Raises:
        ValueError: ``tokenizer.json``, ``tokenizer_config.json`` or the template is missing.
    """
    names = ("tokenizer.json", TOKENIZER_CONFIG_FILE)
    missing = [name for name in names if not (directory / name).is_file()]
    if missing:
        raise ValueError(
            f"{directory} lacks the tokenizer file {', '.join(missing)}. Copy the tokenizer of the "
            "model it was trained from into it: " + ", ".join((*names, CHAT_TEMPLATE_FILE)) + "."
        )
    if read_chat_template(directory) is None:
        raise ValueError(
            f"the tokenizer in {directory} has no chat template. Use an instruct model, or put a "
            f"{CHAT_TEMPLATE_FILE} beside its tokenizer_config.json."
        )


def _read_weight_map(directory: Path) -> dict[str, str] | None:
    """Return file names by weight; None where all weights are in one file."""
    index = directory / WEIGHTS_INDEX_FILE
    if not index.is_file():
        return None
    weight_map: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    return weight_map


def read_chat_template(directory: Path) -> str | None:
    """Return a tokenizer's chat template, from its own file or from its configuration."""
    file = directory / CHAT_TEMPLATE_FILE
    if file.is_file():
        return file.read_text(encoding="utf-8")
    settings = json.loads((directory / TOKENIZER_CONFIG_FILE).read_text(encoding="utf-8"))
    template = settings.get("chat_template")
    return template if isinstance(template, str) and template else None
