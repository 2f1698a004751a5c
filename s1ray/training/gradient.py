"""The gradient of one optimizer step, pass by pass, and its norm.

It knows rows and ranks; which samples make a row, and what is done with the gradient, it does not.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_norm_

from s1ray.config.training import AttentionBackend
from s1ray.training.network.attention import describe_documents
from s1ray.training.network.loss import WeightedLoss
from s1ray.training.network.model import PackedLanguageModel
from s1ray.training.network.sharding import Ranks
from s1ray.training.samples.packing import IGNORE_INDEX, PackedBatch, cut_row


def accumulate_gradient(
    model: PackedLanguageModel,
    batches: Sequence[PackedBatch],
    *,
    num_samples: int,
    ranks: Ranks,
    backend: AttentionBackend,
) -> list[float]:
    """Add a step's gradient to the parameters and return the summed loss of each of its samples.

    Args:
        model: On every rank.
        batches: The passes of this rank's group; every group has as many.
        num_samples: Of the step.
        ranks: This rank among the others; each adds up what its group computes.
        backend: How attention inside a document is computed.
    """
    sums = torch.zeros(num_samples, dtype=torch.float64, device=ranks.device)
    # Weights do not change between the passes of a step: inside this context, which itself casts
    # nothing, autocast rounds each of them once and not once a pass.
    with torch.autocast(ranks.device.type, enabled=False):
        for batch in batches:
            row = cut_row(batch, part=ranks.part, num_parts=ranks.sequence_parallel)
            supervised = (row.labels != IGNORE_INDEX).nonzero().squeeze(-1)
            result = _compute_row(model, row, supervised=supervised, ranks=ranks, backend=backend)
            # FSDP averages gradients over ranks; the step's loss is their sum.
            (result.loss * ranks.world_size).backward()  # type: ignore[no-untyped-call]
            slots = row.sample_slots[supervised].to(ranks.device)
            sums.index_add_(0, slots, result.token_losses.to(torch.float64))
    return list(map(float, ranks.reduce(sums, is_maximum=False).tolist()))


def _compute_row(
    model: PackedLanguageModel,
    row: PackedBatch,
    *,
    supervised: Tensor,
    ranks: Ranks,
    backend: AttentionBackend,
) -> WeightedLoss:
    """Return the loss of a row, or of this rank's part of one, whose positions carry loss."""
    device = ranks.device
    result: WeightedLoss = model(
        input_ids=row.input_ids.to(device),
        position_ids=row.position_ids.to(device),
        supervised=supervised.to(device),
        targets=row.labels[supervised].to(device),
        loss_weights=row.loss_weights[supervised].to(device),
        documents=describe_documents(
            row.document_lengths,
            backend=backend,
            device=device,
            sequence_group=ranks.sequence_group,
        ),
    )
    return result


def clip_gradient(model: PackedLanguageModel, *, max_norm: float) -> float:
    """Scale the gradient down to ``max_norm`` and return its norm before."""
    norm: Tensor = clip_grad_norm_(model.parameters(), max_norm)
    whole = norm.full_tensor() if isinstance(norm, DTensor) else norm
    return float(whole)
