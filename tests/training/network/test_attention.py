"""Documents of a row never see one another, whichever backend computes attention."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from s1ray.config.training import AttentionBackend
from s1ray.training.network.attention import ATTENTION, Documents, attend, describe_documents
from tests.training.plain_loop import VOCABULARY, save_tiny_model

CPU = torch.device("cpu")
BACKENDS = [AttentionBackend.PER_DOCUMENT, AttentionBackend.DENSE]
LENGTHS = (5, 1, 9, 3)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"), is_tied=True)


def run_row(path: Path, ids: Tensor, backend: AttentionBackend, lengths: tuple[int, ...]) -> Tensor:
    model = AutoModelForCausalLM.from_pretrained(path, attn_implementation=ATTENTION)
    positions = torch.cat([torch.arange(n) for n in lengths])
    documents = describe_documents(lengths, backend=backend, device=CPU, sequence_group=None)
    with torch.no_grad():
        output = model(
            input_ids=ids[None],
            position_ids=positions[None],
            use_cache=False,
            documents=documents,
        )
    return output.logits[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_documents_of_a_row_give_the_logits_they_give_alone(
    tiny: Path, backend: AttentionBackend
) -> None:
    ids = torch.randint(VOCABULARY, (sum(LENGTHS),))
    plain = AutoModelForCausalLM.from_pretrained(tiny, attn_implementation="eager")

    packed = run_row(tiny, ids, backend, LENGTHS)

    with torch.no_grad():
        alone = [plain(input_ids=part[None]).logits[0] for part in ids.split(LENGTHS)]
    torch.testing.assert_close(packed, torch.cat(alone), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_change_in_one_document_moves_no_other(tiny: Path, backend: AttentionBackend) -> None:
    ids = torch.randint(VOCABULARY, (sum(LENGTHS),))
    changed = ids.clone()
    changed[6] = (changed[6] + 1) % VOCABULARY

    before, after = (run_row(tiny, row, backend, LENGTHS) for row in (ids, changed))

    moved = (before != after).any(dim=-1)
    assert not moved[:6].any()
    assert moved[6:15].all()
    assert not moved[15:].any()


def attend_by_hand(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return causal attention of one document, written out; shapes as ``attend`` has them."""
    repeats = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(repeats, dim=1) for states in (key, value))
    scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
    future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return (scores.masked_fill(future, -torch.inf).softmax(-1) @ value).transpose(1, 2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_equal_those_of_each_document_by_hand_in_float64(
    backend: AttentionBackend,
) -> None:
    documents = describe_documents(LENGTHS, backend=backend, device=CPU, sequence_group=None)
    states = [
        torch.randn(1, heads, sum(LENGTHS), 8, dtype=torch.float64, requires_grad=True)
        for heads in (4, 2, 2)
    ]
    weights = torch.randn(1, sum(LENGTHS), 4, 8, dtype=torch.float64)

    packed = attend(nn.Identity(), *states, None, None, documents=documents)[0]
    parts = zip(*(part.split(LENGTHS, dim=2) for part in states), strict=True)
    alone = torch.cat([attend_by_hand(*part) for part in parts], dim=1)
    gradients = [
        torch.autograd.grad((output * weights).sum(), states) for output in (packed, alone)
    ]

    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-10, rtol=1e-10)


def test_all_ones_mask_is_refused_at_the_function() -> None:
    # transformers' own packed path joins the documents, without a word, when such a mask is given.
    states = torch.randn(1, 2, 4, 8)

    with pytest.raises(ValueError, match="takes no attention_mask"):
        attend(nn.Identity(), states, states, states, torch.ones(1, 4), documents=make_one(4))


def test_all_ones_mask_at_the_model_does_not_join_documents(tiny: Path) -> None:
    ids = torch.randint(VOCABULARY, (1, 8))
    model = AutoModelForCausalLM.from_pretrained(tiny, attn_implementation=ATTENTION)
    documents = describe_documents(
        (3, 5), backend=AttentionBackend.PER_DOCUMENT, device=CPU, sequence_group=None
    )
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4]])

    with torch.no_grad():
        plain, masked = (
            model(
                input_ids=ids,
                position_ids=positions,
                attention_mask=mask,
                use_cache=False,
                documents=documents,
            ).logits
            for mask in (None, torch.ones(1, 8, dtype=torch.int64))
        )

    torch.testing.assert_close(plain, masked, atol=0, rtol=0)


def test_missing_documents_are_refused() -> None:
    states = torch.randn(1, 2, 4, 8)

    with pytest.raises(ValueError, match="needs documents"):
        attend(nn.Identity(), states, states, states, None)


@pytest.mark.parametrize(
    ("name", "value"), [("sliding_window", 4096), ("s_aux", torch.zeros(2)), ("softcap", 50.0)]
)
def test_layer_that_changes_attention_is_refused(name: str, value: object) -> None:
    states = torch.randn(1, 2, 4, 8)

    with pytest.raises(ValueError, match=f"has no {name}"):
        attend(nn.Identity(), *[states] * 3, None, documents=make_one(4), **{name: value})


def make_one(length: int) -> Documents:
    return describe_documents(
        (length,), backend=AttentionBackend.PER_DOCUMENT, device=CPU, sequence_group=None
    )
