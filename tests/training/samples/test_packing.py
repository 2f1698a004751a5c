"""The tensors of one forward pass, against a loop over its samples."""

import pytest
import torch

from s1ray.config.training import LossWeighting
from s1ray.records import TokenizedExample
from s1ray.training.samples.packing import IGNORE_INDEX, cut_row, pack, weigh_samples


def make_example(*input_ids: int, num_prompt_tokens: int) -> TokenizedExample:
    return TokenizedExample(
        key="k",
        input_ids=input_ids,
        num_prompt_tokens=num_prompt_tokens,
        num_truncated_tokens=0,
    )


EXAMPLES = [
    make_example(11, 12, 13, 14, num_prompt_tokens=2),
    make_example(21, 22, num_prompt_tokens=0),
    make_example(31, 32, 33, num_prompt_tokens=2),
]
WEIGHTS = {2: 0.5, 0: 0.25, 1: 0.125}


def test_row_holds_its_documents_apart() -> None:
    row = pack(EXAMPLES, [0, 2], token_weights=WEIGHTS, multiple_of=1)

    assert row.input_ids.tolist() == [11, 12, 13, 14, 31, 32, 33]
    assert row.position_ids.tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert row.document_lengths == (4, 3)
    # A prompt's last position predicts the first token that carries loss; a document's last none.
    none = IGNORE_INDEX
    assert row.labels.tolist() == [none, 13, 14, none, none, 33, none]
    assert row.loss_weights.tolist() == [0, 0.25, 0.25, 0, 0, 0.5, 0]
    # Slots count in the order of the step: sample 2 is its first.
    assert row.sample_slots.tolist() == [1, 1, 1, 1, 0, 0, 0]


def test_text_without_prompt_has_no_loss_on_its_first_token() -> None:
    row = pack(EXAMPLES, [1], token_weights=WEIGHTS, multiple_of=1)

    assert row.labels.tolist() == [22, IGNORE_INDEX]


@pytest.mark.parametrize(("samples", "num_padding"), [([0, 2], 1), ([0], 0), ([], 4)])
def test_padding_is_a_document_of_its_own_without_loss(
    samples: list[int], num_padding: int
) -> None:
    row = pack(EXAMPLES, samples, token_weights=WEIGHTS, multiple_of=4)

    num_tokens = sum(len(EXAMPLES[i].input_ids) for i in samples)
    assert len(row.input_ids) == sum(row.document_lengths) == num_tokens + num_padding
    assert row.labels[num_tokens:].tolist() == [IGNORE_INDEX] * num_padding
    assert row.loss_weights[num_tokens:].tolist() == [0.0] * num_padding
    assert row.position_ids[num_tokens:].tolist() == list(range(num_padding))


def test_parts_of_a_row_make_the_row() -> None:
    row = pack(EXAMPLES, [0, 1, 2], token_weights=WEIGHTS, multiple_of=3)

    parts = [cut_row(row, part=part, num_parts=3) for part in range(3)]

    assert torch.equal(torch.cat([part.labels for part in parts]), row.labels)
    assert {len(part.input_ids) for part in parts} == {3}
    assert {part.document_lengths for part in parts} == {row.document_lengths}


def test_sample_weights_give_each_sample_an_equal_share() -> None:
    weights = weigh_samples(EXAMPLES, [2, 0, 1], loss_weighting=LossWeighting.SAMPLE)

    # Supervised tokens: 1, 2 and 1.
    assert weights == {2: 1 / 3, 0: 1 / 6, 1: 1 / 3}
    assert list(weights) == [2, 0, 1]


def test_token_weights_give_each_token_an_equal_share() -> None:
    weights = weigh_samples(EXAMPLES, [2, 0, 1], loss_weighting=LossWeighting.TOKEN)

    assert weights == {2: 1 / 4, 0: 1 / 4, 1: 1 / 4}
