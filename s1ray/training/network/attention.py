"""Attention that keeps the documents of a packed row apart, as transformers calls it.

One function is registered under ``ATTENTION``; a model built with that name hands it queries, keys
and values of a whole row and the ``Documents`` that its forward was given. No mask is ever built by
transformers for this name. It does not know models or batches.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface

from s1ray.config.training import AttentionBackend
from s1ray.training.network.sequence import Heads, gather_heads, gather_tokens

ATTENTION = "s1ray_packed"
_CHANGES = ("sliding_window", "s_aux", "softcap")
"""What transformers hands to attention functions beside a plain layer's arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """Where each document of a row begins and ends, and how attention inside it is computed.

    The lengths are a tensor alone. In a tuple, torch 2.11 compiles a checkpointed layer anew for
    every number of documents, and after eight of them no more: the rest of the run is eager.
    """

    boundaries: Tensor
    """Shape [documents + 1], int32, on the model's device: cumulative lengths from 0."""
    longest: int
    backend: AttentionBackend
    sequence_group: dist.ProcessGroup | None
    """The ranks that hold a part of the row each; None where this rank has it whole."""


def describe_documents(
    lengths: tuple[int, ...],
    *,
    backend: AttentionBackend,
    device: torch.device,
    sequence_group: dist.ProcessGroup | None,
) -> Documents:
    """Return the documents of a row.

    Args:
        lengths: Tokens of each, in order.
        backend: How attention keeps them apart.
        device: Where their indices lie.
        sequence_group: The ranks that share the row; None for one.
    """
    boundaries = F.pad(torch.tensor(lengths).cumsum(0), (1, 0)).to(torch.int32)
    return Documents(
        boundaries=boundaries.to(device),
        longest=max(lengths),
        backend=backend,
        sequence_group=sequence_group,
    )


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,  # noqa: ANN401 - whatever the model's forward was given
) -> tuple[Tensor, None]:
    """Return causal attention inside each document, as transformers' attention functions do.

    Under sequence parallelism the tokens here are this rank's part of the row.

    Args:
        module: The attention layer; not used.
        query: Shape [1, heads, tokens, head_dim].
        key: Shape [1, key_value_heads, tokens, head_dim].
        value: As ``key``.
        attention_mask: Must be None: an all-ones mask would join the documents.
        scaling: None for 1 / sqrt(head_dim).
        **kwargs: ``documents`` must be among them.

    Returns:
        Shape [1, tokens, heads, head_dim], and no attention weights.

    Raises:
        ValueError: A mask was given, the documents were not, or the layer changes what plain
            attention computes: a window, sinks, a soft cap.
    """
    documents = _check_arguments(attention_mask, kwargs)
    backend = _BACKENDS[documents.backend]
    group = documents.sequence_group
    if group is None:
        return backend(query, key, value, documents, scaling), None
    dtype = value.dtype  # as it travels: under autocast queries and keys come in float32
    heads = gather_tokens(Heads(query.to(dtype), key.to(dtype), value), group)
    return gather_heads(backend(*heads, documents, scaling), group), None


def _check_arguments(attention_mask: Tensor | None, others: Mapping[str, object]) -> Documents:
    documents = others.get("documents")
    if attention_mask is not None or not isinstance(documents, Documents):
        raise ValueError(
            f"attention {ATTENTION!r} takes no attention_mask and needs documents=Documents(...); "
            "call the model through PackedLanguageModel."
        )
    for name in _CHANGES:
        if others.get(name) is not None:
            raise ValueError(
                f"attention {ATTENTION!r} has no {name}, which a layer of this model asks for. "
                "Choose another model.source."
            )
    return documents


def _attend_varlen(
    query: Tensor, key: Tensor, value: Tensor, documents: Documents, scaling: float | None
) -> Tensor:
    # Under autocast the rotary embedding leaves queries and keys in float32.
    q, k, v = (states.squeeze(0).transpose(0, 1).to(value.dtype) for states in (query, key, value))
    if "enable_gqa" not in _VARLEN_OPTIONS:
        repeats = query.shape[1] // key.shape[1]
        k, v = k.repeat_interleave(repeats, dim=1), v.repeat_interleave(repeats, dim=1)
    ends, longest = documents.boundaries, documents.longest
    output = varlen_attn(q, k, v, ends, ends, longest, longest, scale=scaling, **_VARLEN_OPTIONS)
    return cast(Tensor, output).unsqueeze(0)


# Not compiled: every new tuple of lengths would be compiled again.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def _attend_per_document(
    query: Tensor, key: Tensor, value: Tensor, documents: Documents, scaling: float | None
) -> Tensor:
    # The CPU's flash kernel is slower in bfloat16: four times so in the backward pass.
    is_slow = query.device.type == "cpu" and value.dtype is torch.bfloat16
    dtype = torch.float32 if is_slow else value.dtype
    lengths = documents.boundaries.diff().tolist()
    parts = [torch.split(states.to(dtype), lengths, dim=2) for states in (query, key, value)]
    with torch.autocast(query.device.type, enabled=False):
        outputs = [
            F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=True)
            for q, k, v in zip(*parts, strict=True)
        ]
    return torch.cat(outputs, dim=2).transpose(1, 2).to(value.dtype)


def _attend_dense(
    query: Tensor, key: Tensor, value: Tensor, documents: Documents, scaling: float | None
) -> Tensor:
    lengths = documents.boundaries.diff()
    owner = torch.arange(len(lengths), device=query.device).repeat_interleave(lengths)
    mask = (owner[:, None] == owner[None, :]).tril()
    output = F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scaling, enable_gqa=True
    )
    return output.transpose(1, 2)


def _choose_varlen_options() -> dict[str, Any]:
    """Return what this torch calls causal grouped-query attention.

    The signature drifted: 2.10 has is_causal, later releases window_size, then enable_gqa.
    """
    names = inspect.signature(varlen_attn).parameters
    options: dict[str, Any] = (
        {"window_size": (-1, 0)} if "window_size" in names else {"is_causal": True}
    )
    return options | ({"enable_gqa": True} if "enable_gqa" in names else {})


_VARLEN_OPTIONS = _choose_varlen_options()

_BACKENDS: dict[
    AttentionBackend, Callable[[Tensor, Tensor, Tensor, Documents, float | None], Tensor]
] = {
    AttentionBackend.VARLEN: _attend_varlen,
    AttentionBackend.PER_DOCUMENT: _attend_per_document,
    AttentionBackend.DENSE: _attend_dense,
}

AttentionInterface.register(ATTENTION, attend)
