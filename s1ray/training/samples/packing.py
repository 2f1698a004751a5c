"""Examples to the tensors of one forward pass: several documents in one row, kept apart.

It does not know models or ranks. A document never sees another one: positions restart, labels do
not cross, and ``document_lengths`` tells attention where each ends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from s1ray.config.training import LossWeighting
from s1ray.records import TokenizedExample

IGNORE_INDEX = -100
"""The label of a position that carries no loss, as in torch and transformers."""
PADDING_ID = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedBatch:
    """One forward pass of one group of ranks: a row of documents."""

    input_ids: Tensor
    """Shape [tokens]."""
    position_ids: Tensor
    """Shape [tokens]; restart at 0 with each document."""
    labels: Tensor
    """Shape [tokens], already shifted: position t predicts ``labels[t]``."""
    loss_weights: Tensor
    """Shape [tokens], float32: share of each position's loss in the step's; 0 where ignored."""
    sample_slots: Tensor
    """Shape [tokens]: which of the step's samples a position belongs to; -1 for padding."""
    document_lengths: tuple[int, ...]
    """Of all documents, the one of padding at the end included."""


def weigh_samples(
    examples: Sequence[TokenizedExample],
    samples: Sequence[int],
    *,
    loss_weighting: LossWeighting,
) -> dict[int, float]:
    """Return the weight of one supervised token of each sample of an optimizer step.

    The step's loss is the sum of weight times token loss over all ranks and forward passes, so
    neither packing nor sharding nor accumulation enters it.

    Args:
        examples: Of the whole run.
        samples: Indices of this step's.
        loss_weighting: What the step's loss is the mean of.
    """
    counts = {index: count_supervised(examples[index]) for index in samples}
    if loss_weighting is LossWeighting.TOKEN:
        total = sum(counts.values())
        return dict.fromkeys(counts, 1 / total)
    return {index: 1 / (len(samples) * count) for index, count in counts.items()}


def count_supervised(example: TokenizedExample) -> int:
    """Return the tokens that carry loss; the first token of a text is never predicted."""
    return len(example.input_ids) - max(example.num_prompt_tokens, 1)


def pack(
    examples: Sequence[TokenizedExample],
    samples: Sequence[int],
    *,
    token_weights: Mapping[int, float],
    multiple_of: int,
) -> PackedBatch:
    """Return samples side by side in one row.

    Args:
        examples: Of the whole run.
        samples: Indices of those in this row; none for a pass that only keeps the ranks in step.
        token_weights: From ``weigh_samples``, in the order of the step's samples.
        multiple_of: The row's length is padded to this, by a document of its own without loss.
    """
    slots = {index: slot for slot, index in enumerate(token_weights)}
    documents = [
        _lay_out(examples[i], slot=slots[i], token_weight=token_weights[i]) for i in samples
    ]
    num_tokens = sum(len(document.input_ids) for document in documents)
    num_padding = count_padding(num_tokens, multiple_of=multiple_of)
    if num_padding:
        documents.append(_lay_out_padding(num_padding))
    return PackedBatch(
        input_ids=torch.cat([document.input_ids for document in documents]),
        position_ids=torch.cat([document.position_ids for document in documents]),
        labels=torch.cat([document.labels for document in documents]),
        loss_weights=torch.cat([document.loss_weights for document in documents]),
        sample_slots=torch.cat([document.sample_slots for document in documents]),
        document_lengths=tuple(len(document.input_ids) for document in documents),
    )


def count_padding(num_tokens: int, *, multiple_of: int) -> int:
    """Return the padding of a row; an empty one becomes the shortest row there can be."""
    return -num_tokens % multiple_of if num_tokens else multiple_of


def cut_row(batch: PackedBatch, *, part: int, num_parts: int) -> PackedBatch:
    """Return one rank's contiguous part of a row; the document lengths stay those of the row."""
    names = ("input_ids", "position_ids", "labels", "loss_weights", "sample_slots")
    parts = {name: getattr(batch, name).chunk(num_parts)[part] for name in names}
    return replace(batch, **parts)


def _lay_out(example: TokenizedExample, *, slot: int, token_weight: float) -> PackedBatch:
    input_ids = torch.tensor(example.input_ids, dtype=torch.int64)
    num_tokens = len(input_ids)
    labels = torch.full((num_tokens,), IGNORE_INDEX, dtype=torch.int64)
    first = max(example.num_prompt_tokens, 1)
    labels[first - 1 : -1] = input_ids[first:]
    return PackedBatch(
        input_ids=input_ids,
        position_ids=torch.arange(num_tokens),
        labels=labels,
        loss_weights=(labels != IGNORE_INDEX).to(torch.float32) * token_weight,
        sample_slots=torch.full((num_tokens,), slot, dtype=torch.int64),
        document_lengths=(num_tokens,),
    )


def _lay_out_padding(num_tokens: int) -> PackedBatch:
    return PackedBatch(
        input_ids=torch.full((num_tokens,), PADDING_ID, dtype=torch.int64),
        position_ids=torch.arange(num_tokens),
        labels=torch.full((num_tokens,), IGNORE_INDEX, dtype=torch.int64),
        loss_weights=torch.zeros(num_tokens),
        sample_slots=torch.full((num_tokens,), -1, dtype=torch.int64),
        document_lengths=(num_tokens,),
    )
