"""A causal language model as training sees it: a body, a head, and a loss instead of logits.

It reads a local Hugging Face directory (config.json, safetensors) and nothing else. It does not
know samples, ranks or how parameters are sharded; it loads into whatever slice a rank holds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Shard
from transformers import AutoModelForCausalLM, PreTrainedModel

from s1ray.model_source.model_directory import index_weights
from s1ray.training.network.architecture import check_architecture, read_architecture
from s1ray.training.network.attention import ATTENTION, Documents
from s1ray.training.network.loss import WeightedLoss, linear_cross_entropy

_CHECKPOINT_WRAPPER = "_checkpoint_wrapped_module."


class WholeTensor(Protocol):
    """Anything that gives rows of a weight."""

    def __getitem__(self, rows: slice, /) -> Tensor:
        """Return rows."""
        ...


class PackedLanguageModel(nn.Module):
    """A row of documents in, the weighted loss of its supervised positions out."""

    def __init__(self, language_model: nn.Module, *, loss_chunk_tokens: int) -> None:
        super().__init__()
        self.language_model = language_model
        """The transformers model, or the peft model around it."""
        self.loss_chunk_tokens = loss_chunk_tokens
        self.autocast_dtype: torch.dtype | None = None
        """None where parameters already arrive in the compute dtype."""

    @property
    def causal_lm(self) -> PreTrainedModel:
        """The transformers model, adapters inside."""
        unwrap = getattr(self.language_model, "get_base_model", None)
        return cast(PreTrainedModel, self.language_model if unwrap is None else unwrap())

    def forward(
        self,
        *,
        input_ids: Tensor,
        position_ids: Tensor,
        supervised: Tensor,
        targets: Tensor,
        loss_weights: Tensor,
        documents: Documents,
    ) -> WeightedLoss:
        """Return the loss; the head is applied to supervised positions alone.

        Args:
            input_ids: Shape [tokens].
            position_ids: Shape [tokens].
            supervised: Shape [positions]: which tokens' outputs carry loss.
            targets: Shape [positions].
            loss_weights: Shape [positions], float32.
            documents: Of the row.
        """
        causal_lm = self.causal_lm
        dtype = self.autocast_dtype
        with torch.autocast(input_ids.device.type, dtype=dtype, enabled=dtype is not None):
            states = find_body(causal_lm)(
                input_ids=input_ids[None],
                position_ids=position_ids[None],
                use_cache=False,
                documents=documents,
            ).last_hidden_state[0]
            return linear_cross_entropy(
                states[supervised],
                find_head(causal_lm).weight,
                targets=targets,
                loss_weights=loss_weights,
                chunk_tokens=self.loss_chunk_tokens,
            )


def create_causal_lm(path: Path, *, dtype: torch.dtype) -> PreTrainedModel:
    """Return the architecture of a directory without memory for its weights (meta device).

    Raises:
        ValueError: The directory holds no model, or one that this house cannot train.
    """
    config = read_architecture(path)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            config, dtype=dtype, attn_implementation=ATTENTION, trust_remote_code=False
        )
    check_architecture(model.config)
    if find_head(model).bias is not None:
        raise ValueError(
            f"{type(model).__name__} of {path} has a head with a bias; only plain linear heads can "
            "be trained. Choose another model.source."
        )
    return cast(PreTrainedModel, model)


def find_body(causal_lm: PreTrainedModel) -> nn.Module:
    """Return the module from token ids to hidden states."""
    return cast(nn.Module, causal_lm.get_decoder())  # type: ignore[no-untyped-call]


def find_head(causal_lm: PreTrainedModel) -> nn.Linear:
    """Return the module from hidden states to logits."""
    return cast(nn.Linear, causal_lm.get_output_embeddings())  # type: ignore[no-untyped-call]


def find_decoder_layers(causal_lm: PreTrainedModel) -> nn.ModuleList:
    """Return the list that holds the decoder layers.

    Raises:
        ValueError: The body has no attribute ``layers``.
    """
    layers = getattr(find_body(causal_lm), "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise ValueError(
            f"{type(causal_lm).__name__} keeps its decoder layers in an unknown place. Choose a "
            "model.source whose body has a module list named layers (Qwen2, Llama, ...)."
        )
    return layers


def materialize(model: PackedLanguageModel, *, device: torch.device, is_offloaded: bool) -> None:
    """Give a model on the meta device its memory; weights are undefined, buffers are right.

    Args:
        model: Sharded already, so that each rank holds its slices alone.
        device: Where it computes.
        is_offloaded: Whether weights live in the host's memory in between.
    """
    causal_lm = model.causal_lm
    head, embedding = find_head(causal_lm), cast(nn.Embedding, causal_lm.get_input_embeddings())
    is_tied = head.weight is embedding.weight
    model.to_empty(device="cpu" if is_offloaded else device)
    if is_tied:
        head.weight = embedding.weight
    for module in list(model.modules()):
        if dict(module.named_buffers(recurse=False)):
            _restore_buffers(module, device=device)


def load_weights(model: PackedLanguageModel, path: Path) -> None:
    """Copy weights from safetensors; each rank reads only the slices that it holds.

    Adapters are not in the files and are left alone.

    Raises:
        ValueError: A weight is missing or has another shape.
    """
    wanted = {file_name(name): tensor for name, tensor in model.named_parameters()}
    wanted = {name: tensor for name, tensor in wanted.items() if ".lora_" not in name}
    files = index_weights(path)
    missing = sorted(name for name in wanted if name not in files)
    if missing:
        raise ValueError(
            f"{path} lacks {len(missing)} weights, the first is {missing[0]}. Its config.json and "
            "its safetensors files do not belong together; fetch the model again."
        )
    for file in sorted({files[name] for name in wanted}):
        with safe_open(file, framework="pt") as weights:
            for name in sorted(name for name in wanted if files[name] == file):
                stored = weights.get_slice(name)
                _check_shape(name, tuple(stored.get_shape()), wanted[name])
                copy_rows(wanted[name], stored)


def plain_name(name: str) -> str:
    """Return the name that a parameter has whether or not its layer's activations are kept."""
    return name.replace(_CHECKPOINT_WRAPPER, "")


def file_name(parameter_name: str) -> str:
    """Return the name under which a parameter of a PackedLanguageModel stands in safetensors."""
    name = plain_name(parameter_name).removeprefix("language_model.")
    return name.removeprefix("base_model.model.").replace(".base_layer.", ".")


def copy_rows(parameter: Tensor, whole: WholeTensor) -> None:
    """Copy a whole weight, or this rank's rows of it, into a parameter.

    Args:
        parameter: Of any shape; sharded over dim 0, or not at all.
        whole: A tensor, or a slice of a safetensors file that is read here.
    """
    local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
    begin = _first_local_row(parameter)
    with torch.no_grad():
        local.copy_(whole[begin : begin + len(local)])


@dataclass(frozen=True, slots=True, kw_only=True)
class FlopCount:
    """Model FLOPs of training, as ``StepMetrics.flops`` defines them."""

    per_token: float
    per_squared_token: float
    """Times the sum over documents of the square of their tokens."""

    def of_documents(self, lengths: Iterable[int]) -> float:
        """Return the FLOPs of forward and backward over documents of these lengths."""
        return sum(self.per_token * n + self.per_squared_token * n * n for n in lengths)


def count_flops(model: PackedLanguageModel) -> FlopCount:
    """Return the model's FLOPs.

    A weight costs 2 forward, as many for its input's gradient, and as many for its own where it is
    trained; causal attention counts at half its square.
    """
    config = model.causal_lm.config
    head_dim = getattr(config, "head_dim", None) or (
        config.hidden_size // config.num_attention_heads
    )
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return FlopCount(
        per_token=sum(
            (6 if linear.weight.requires_grad else 4) * linear.weight.numel() for linear in linears
        ),
        per_squared_token=6 * config.num_hidden_layers * config.num_attention_heads * head_dim,
    )


def _restore_buffers(module: nn.Module, *, device: torch.device) -> None:
    """Compute rotary frequencies anew: no file holds them, and to_empty has lost them."""
    config = getattr(module, "config", None)
    if config is None or not hasattr(module, "inv_freq"):
        raise ValueError(
            f"the buffers of {type(module).__name__} cannot be rebuilt; only rotary embeddings "
            "can. Choose another model.source."
        )
    fresh = type(module)(config)
    for name, buffer in fresh.named_buffers(recurse=False):
        setattr(module, name, buffer.to(device))


def _check_shape(name: str, stored: tuple[int, ...], parameter: Tensor) -> None:
    if stored != tuple(parameter.shape):
        raise ValueError(
            f"{name} has shape {stored} in the file, {tuple(parameter.shape)} in config.json. Its "
            "files do not belong together; fetch the model again."
        )


def _first_local_row(parameter: Tensor) -> int:
    """Return where this rank's rows begin: sharding cuts dim 0 as torch.chunk does."""
    if not isinstance(parameter, DTensor):
        return 0
    mesh = parameter.device_mesh
    for axis, placement in enumerate(parameter.placements):
        if isinstance(placement, Shard):
            rows_a_rank = -(-parameter.shape[0] // mesh.size(axis))
            return min(mesh.get_local_rank(axis) * rows_a_rank, parameter.shape[0])
    return 0
