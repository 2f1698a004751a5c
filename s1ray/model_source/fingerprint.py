"""What a model directory is, in four digests that go into a run's identity.

Equal content gives equal digests wherever it lies and however its weights are split into files.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from s1ray.model_source.model_directory import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_WEIGHTS_FILE,
    TOKENIZER_CONFIG_FILE,
    list_weight_files,
    read_chat_template,
)

CONFIG_NOISE = frozenset({"transformers_version", "_name_or_path", "_model_name_or_path"})
TOKENIZER_NOISE = frozenset(
    {
        "chat_template",
        "is_local",
        "local_files_only",
        "name_or_path",
    }
)
ADAPTER_NOISE = frozenset({"base_model_name_or_path", "revision", "peft_version"})
"""Keys that record how a file was written, or that another digest covers."""

PROBE_BYTES = 4096
PROBES_PER_TENSOR = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFingerprint:
    """The digests of a model, 64 hex digits each."""

    config: str
    weights: str
    tokenizer: str
    chat_template: str


def fingerprint_model(directory: Path) -> ModelFingerprint:
    """Return the digests of a model directory.

    The weights digest covers every tensor's name, type and shape and its first, middle and last
    4,096 bytes, so that 65 GB take seconds; training changes every tensor all over. It is no
    defence against somebody who edits weights by hand.

    Raises:
        ValueError: A weights file is missing.
    """
    return ModelFingerprint(
        config=_digest_json(_read_json(directory / "config.json"), without=CONFIG_NOISE),
        weights=_digest_weights(directory),
        tokenizer=_digest_tokenizer(directory),
        chat_template=_digest_bytes((read_chat_template(directory) or "").encode()),
    )


def fingerprint_adapter(base: ModelFingerprint, directory: Path) -> ModelFingerprint:
    """Return the digests of a model with a PEFT adapter beside its weights.

    The weights digest covers the base's and all of the adapter; where its base lies does not enter.

    Raises:
        ValueError: The directory holds no adapter.
    """
    weights = directory / ADAPTER_WEIGHTS_FILE
    if not weights.is_file():
        raise ValueError(
            f"{directory} has no {ADAPTER_WEIGHTS_FILE}, so its adapter cannot be read. Point "
            "target at the export directory of a training run."
        )
    settings = _read_json(directory / ADAPTER_CONFIG_FILE)
    kept = {key: value for key, value in settings.items() if key not in ADAPTER_NOISE}
    whole = {"base": base.weights, "settings": kept, "tensors": _probe_tensors(weights)}
    return replace(base, weights=_digest_json(whole, without=frozenset()))


def _digest_weights(directory: Path) -> str:
    digests: dict[str, str] = {}
    for path in list_weight_files(directory):
        digests |= _probe_tensors(path)
    return _digest_json(digests, without=frozenset())


def _probe_tensors(path: Path) -> dict[str, str]:
    digests = {}
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(header_bytes))
        header.pop("__metadata__", None)
        for name, tensor in header.items():
            begin, end = tensor["data_offsets"]
            probe = hashlib.sha256(json.dumps([tensor["dtype"], tensor["shape"]]).encode())
            room = max(0, end - begin - PROBE_BYTES)
            for index in range(PROBES_PER_TENSOR):
                start = begin + room * index // (PROBES_PER_TENSOR - 1)
                file.seek(8 + header_bytes + start)
                probe.update(file.read(min(PROBE_BYTES, end - start)))
            digests[name] = probe.hexdigest()
    return digests


def _digest_tokenizer(directory: Path) -> str:
    settings = _read_json(directory / TOKENIZER_CONFIG_FILE)
    kept = {key: value for key, value in settings.items() if key not in TOKENIZER_NOISE}
    return _digest_json(
        {"tokenizer": _read_json(directory / "tokenizer.json"), "settings": kept},
        without=frozenset(),
    )


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _digest_json(content: dict[str, Any], *, without: frozenset[str]) -> str:
    kept = {key: value for key, value in content.items() if key not in without}
    return _digest_bytes(json.dumps(kept, sort_keys=True, ensure_ascii=True).encode())


def _digest_bytes(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
