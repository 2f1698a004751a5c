"""A trained model as a Hugging Face directory: whole weights, or an adapter beside its base.

It knows file formats and gathers weights one at a time, so that no rank ever holds a second copy
of the model. It does not know how the model was trained.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from s1ray.config.checkpoint import ExportDtype
from s1ray.model_source.model_directory import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_WEIGHTS_FILE,
    CHAT_TEMPLATE_FILE,
    TOKENIZER_CONFIG_FILE,
    WEIGHTS_FILE,
    WEIGHTS_INDEX_FILE,
)
from s1ray.model_source.staging import staged_directory
from s1ray.training.checkpoints.peers import Peers
from s1ray.training.network.model import PackedLanguageModel, file_name, plain_name

GIB = 2**30
TOKENIZER_FILES = (
    TOKENIZER_CONFIG_FILE,
    CHAT_TEMPLATE_FILE,
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)
ADAPTER_NAME = "default"
"""peft's name for the only adapter; files do not contain it."""


def export_model(
    model: PackedLanguageModel,
    target: Path,
    *,
    source: Path,
    dtype: ExportDtype,
    shard_gib: float,
    peers: Peers,
) -> None:
    """Write a directory that transformers and vLLM load; a collective call.

    Adapters are added to the weights that they change. Tied weights are written once. Tokenizer,
    chat template and generation settings are the base model's, byte for byte.

    Args:
        model: Trained, on any number of ranks.
        target: Replaced where it exists; whole, or as it was before.
        source: The base model's directory.
        dtype: Of the written weights.
        shard_gib: Largest size of one file.
        peers: All ranks; rank 0 writes.

    Raises:
        OSError: The disk is full; nothing half-written is left. Every rank raises alike.
    """
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    type_name = config.get("dtype") or config.get("torch_dtype") or ExportDtype.FLOAT32.value
    if dtype is not ExportDtype.MODEL:
        type_name = dtype.value
    config.pop("torch_dtype", None)
    config["dtype"] = type_name
    weights = gather_weights(model, dtype=getattr(torch, type_name))

    def write() -> None:
        with staged_directory(target, is_replacing=True) as staging:
            write_weights(staging, weights, shard_bytes=int(shard_gib * GIB))
            _write_json(staging / "config.json", config)
            _copy_files(source, staging, names=(*TOKENIZER_FILES, "generation_config.json"))

    _write_on_first_rank(write, weights, peers)


def export_adapter(
    model: PackedLanguageModel,
    target: Path,
    *,
    source: Path,
    base_model: str,
    base_revision: str | None,
    peers: Peers,
) -> None:
    """Write an adapter as peft loads it, with the tokenizer; a collective call.

    Args:
        model: With one adapter.
        target: Replaced where it exists; whole, or as it was before.
        source: The base model's directory.
        base_model: What the adapter belongs to, as peft will look it up: an id or a path.
        base_revision: The commit of an id.
        peers: All ranks; rank 0 writes.

    Raises:
        ValueError: The model has no adapter.
        OSError: The disk is full; nothing half-written is left. Every rank raises alike.
    """
    settings = getattr(model.language_model, "peft_config", {}).get(ADAPTER_NAME)
    if settings is None:
        raise ValueError(
            "there is no adapter to export: the whole model was trained. Use export_model, or set "
            "training.lora."
        )
    weights = _gather_adapter(model)

    def write() -> None:
        content = settings.to_dict() | {"inference_mode": True}
        content |= {"base_model_name_or_path": base_model, "revision": base_revision}
        with staged_directory(target, is_replacing=True) as staging:
            save_file(dict(weights), staging / ADAPTER_WEIGHTS_FILE, {"format": "pt"})
            _write_json(staging / ADAPTER_CONFIG_FILE, content)
            _copy_files(source, staging, names=TOKENIZER_FILES)

    _write_on_first_rank(write, weights, peers)


def gather_weights(
    model: PackedLanguageModel, *, dtype: torch.dtype
) -> Iterator[tuple[str, Tensor]]:
    """Yield each whole weight, on the CPU, under the name that it has in safetensors.

    Every rank iterates to the end, or the others wait for ever.
    """
    modules = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            continue
        value = parameter.detach()
        layer_name, _, part = name.rpartition(".base_layer.")
        if part == "weight":
            whole = _whole(value).float() + _adapter_product(modules[layer_name])
            yield file_name(name), whole.to("cpu", dtype)
        else:
            # Cast before gathering: half the bytes on the network where the export is bfloat16.
            yield file_name(name), _whole(value.to(dtype)).to("cpu")


def write_weights(
    directory: Path, weights: Iterator[tuple[str, Tensor]], *, shard_bytes: int
) -> None:
    """Write weights as safetensors: one file, or several with an index; one shard in memory."""
    writer = _ShardWriter(directory=directory, shard_bytes=shard_bytes)
    for name, weight in weights:
        writer.add(name, weight)
    writer.finish()


@dataclass(slots=True, kw_only=True)
class _ShardWriter:
    directory: Path
    shard_bytes: int
    shard: dict[str, Tensor] = field(default_factory=dict)
    names_by_shard: list[list[str]] = field(default_factory=list)
    num_bytes: int = 0
    num_parameters: int = 0

    def add(self, name: str, weight: Tensor) -> None:
        held = sum(tensor.nbytes for tensor in self.shard.values())
        if self.shard and held + weight.nbytes > self.shard_bytes:
            self._flush()
        self.shard[name] = weight.contiguous()
        self.num_bytes += weight.nbytes
        self.num_parameters += weight.numel()

    def finish(self) -> None:
        self._flush()
        count = len(self.names_by_shard)
        if count == 1:
            self._draft(0).rename(self.directory / WEIGHTS_FILE)
            return
        weight_map: dict[str, str] = {}
        for index, names in enumerate(self.names_by_shard):
            file = f"model-{index + 1:05d}-of-{count:05d}.safetensors"
            self._draft(index).rename(self.directory / file)
            weight_map |= dict.fromkeys(names, file)
        metadata = {"total_size": self.num_bytes, "total_parameters": self.num_parameters}
        _write_json(
            self.directory / WEIGHTS_INDEX_FILE,
            {"metadata": metadata, "weight_map": dict(sorted(weight_map.items()))},
        )

    def _flush(self) -> None:
        save_file(self.shard, self._draft(len(self.names_by_shard)), {"format": "pt"})
        self.names_by_shard.append(list(self.shard))
        self.shard = {}

    def _draft(self, index: int) -> Path:
        return self.directory / f"shard_{index}.draft"


def _gather_adapter(model: PackedLanguageModel) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            plain = plain_name(name).removeprefix("language_model.")
            whole = _whole(parameter.detach()).to("cpu").contiguous()
            yield plain.replace(f".{ADAPTER_NAME}.", "."), whole


def _adapter_product(layer: nn.Module) -> Tensor:
    """Return what an adapter adds to its layer's weight, in float32.

    Source: Hu et al. 2021 (arXiv 2106.09685), section 4.1: W + (alpha / rank) B A.
    """
    down: nn.Module = layer.get_submodule(f"lora_A.{ADAPTER_NAME}")
    up: nn.Module = layer.get_submodule(f"lora_B.{ADAPTER_NAME}")
    scaling: dict[str, float] = layer.scaling  # type: ignore[assignment]
    matrices = [_whole(m.get_parameter("weight").detach()).float() for m in (up, down)]
    return scaling[ADAPTER_NAME] * (matrices[0] @ matrices[1])


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _write_on_first_rank(
    write: Callable[[], None], weights: Iterator[tuple[str, Tensor]], peers: Peers
) -> None:
    failure: Exception | None = None
    if peers.rank == 0:
        try:
            write()
        except Exception as error:  # raised below, on every rank
            failure = error
    # The other ranks take part in every gather; so does rank 0 where its disk is full.
    for _ in weights:
        pass

    def report() -> None:
        if failure is not None:
            raise failure

    peers.decide(report)


def _copy_files(source: Path, target: Path, *, names: tuple[str, ...]) -> None:
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def _write_json(path: Path, content: object) -> None:
    # peft keeps its targets in a set.
    text = json.dumps(
        content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False, default=sorted
    )
    path.write_text(f"{text}\n", encoding="utf-8")
