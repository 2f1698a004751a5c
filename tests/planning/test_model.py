import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

from s1ray.config.training import ActivationCheckpointing
from s1ray.planning.model import read_shape
from s1ray.training.network.model import PackedLanguageModel, count_flops
from s1ray.training.network.sharding import join_ranks, shard
from tests.planning.plans import qwen_32b
from tests.training.plain_loop import make_sharding

# config.json of Qwen/Qwen2.5-*-Instruct and HuggingFaceTB/SmolLM2-135M-Instruct on the hub.
QWEN_32B = {
    "hidden_size": 5120, "intermediate_size": 27648, "num_hidden_layers": 64,
    "num_attention_heads": 40, "num_key_value_heads": 8, "vocab_size": 152064,
    "tie_word_embeddings": False,
}  # fmt: skip
QWEN_7B = {
    "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064,
    "tie_word_embeddings": False,
}  # fmt: skip
QWEN_1_5B = {
    "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
    "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936,
    "tie_word_embeddings": True,
}  # fmt: skip
SMOLLM2 = {
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152,
    "tie_word_embeddings": True,
}  # fmt: skip
QWEN3 = {**QWEN_1_5B, "head_dim": 128}
BIASED_LLAMA = {**SMOLLM2, "attention_bias": True, "mlp_bias": True}


@contextmanager
def find_storages() -> Iterator[dict[int, int]]:
    """Yield a dict that holds, at the end, the bytes of every new tensor storage by its address."""
    found: dict[int, int] = {}
    gc.collect()
    # What is frozen is not listed, which leaves the tensors that the block brings forth.
    gc.freeze()
    try:
        yield found
        tensors = [item for item in gc.get_objects() if type(item) is torch.Tensor]
        storages = [tensor.untyped_storage() for tensor in tensors]
        found.update({storage.data_ptr(): storage.nbytes() for storage in storages})
    finally:
        gc.unfreeze()


def build(config: Any, *, device: str = "meta", dtype: torch.dtype = torch.float32) -> Any:
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")


def tiny_qwen(**changes: Any) -> Qwen2Config:
    sizes = {
        "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 96,
        "tie_word_embeddings": False,
    }  # fmt: skip
    return Qwen2Config(**{**sizes, **changes})


@pytest.mark.parametrize(
    ("config", "billions"),
    [
        # The totals are those of the model cards: 32.5 B, 7.61 B, 1.54 B, 135 M.
        pytest.param(Qwen2Config(**QWEN_32B), 32.76, id="qwen2.5-32b"),
        pytest.param(Qwen2Config(**QWEN_7B), 7.616, id="qwen2.5-7b"),
        pytest.param(Qwen2Config(**QWEN_1_5B), 1.544, id="qwen2.5-1.5b"),
        pytest.param(LlamaConfig(**SMOLLM2), 0.1345, id="smollm2"),
        pytest.param(Qwen3Config(**QWEN3), None, id="qwen3"),
        pytest.param(LlamaConfig(**BIASED_LLAMA), None, id="llama with biases"),
    ],
)
def test_parameters_equal_those_of_the_meta_device(config: Any, billions: float | None) -> None:
    shape = read_shape(config.to_dict())

    model = build(config)

    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert shape.num_parameters == sum(p.numel() for p in model.parameters())
    assert shape.num_matmul_parameters == sum(linear.weight.numel() for linear in linears)
    if billions is not None:
        assert shape.num_parameters / 1e9 == pytest.approx(billions, rel=1e-3)


def test_flops_of_qwen_32b_equal_the_published_arithmetic() -> None:
    shape = qwen_32b()

    per_token = shape.count_flops(num_adapters=None).of_document(5200) / 5200

    # Reference arithmetic: 191.9 GFLOP a token of products, 10.2 of attention at 5.2k tokens.
    assert per_token / 1e9 == pytest.approx(191.9 + 10.2, rel=1e-3)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft reads it
@pytest.mark.parametrize("targets", [None, ("q_proj", "down_proj")])
def test_flops_equal_those_the_training_loop_counts(targets: tuple[str, ...] | None) -> None:
    config = tiny_qwen()
    model = build(config, device="cpu")
    if targets is not None:
        model = get_peft_model(model, LoraConfig(r=4, target_modules=list(targets)))
    shape = read_shape(config.to_dict())
    adapters = None if targets is None else shape.count_adapters(rank=4, targets=targets)

    planned = sum(shape.count_flops(num_adapters=adapters).of_document(n) for n in (7, 40))

    counted = count_flops(PackedLanguageModel(model, loss_chunk_tokens=8))
    assert planned == counted.of_documents(iter((7, 40)))


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft reads it
def test_adapters_equal_those_that_peft_adds() -> None:
    config, targets = tiny_qwen(), ("k_proj", "o_proj", "up_proj")
    model = get_peft_model(
        build(config, device="cpu"), LoraConfig(r=3, target_modules=list(targets))
    )

    count = read_shape(config.to_dict()).count_adapters(rank=3, targets=targets)

    assert count == sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"hidden_size": 128},
        {"intermediate_size": 320},
        {"num_key_value_heads": 4},
        {"num_attention_heads": 8, "num_key_value_heads": 2},
    ],
)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_layer_bytes_equal_the_tensors_that_autograd_saves(
    sizes: dict[str, int], dtype: torch.dtype
) -> None:
    config, num_tokens = tiny_qwen(**sizes), 32
    model = build(config, device="cpu", dtype=dtype).model
    hidden = torch.randn(1, num_tokens, config.hidden_size, dtype=dtype, requires_grad=True)
    rotary = model.rotary_emb(hidden, torch.arange(num_tokens)[None])
    not_counted = {p.untyped_storage().data_ptr() for p in model.parameters()}
    not_counted |= {tensor.untyped_storage().data_ptr() for tensor in rotary}
    saved: dict[int, int] = {}
    alive: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.layers[1](hidden, position_embeddings=rotary, attention_mask=None)

    planned = read_shape(config.to_dict()).count_layer_bytes(
        mode=ActivationCheckpointing.NONE, compute_bytes=dtype.itemsize
    )
    measured = sum(size for pointer, size in saved.items() if pointer not in not_counted)
    assert measured / num_tokens == pytest.approx(planned, rel=0.02)


@pytest.mark.parametrize("mode", [ActivationCheckpointing.SELECTIVE, ActivationCheckpointing.FULL])
@pytest.mark.parametrize("sizes", [{}, {"hidden_size": 128, "intermediate_size": 320}])
def test_layer_bytes_equal_what_the_training_loop_keeps_alive(
    mode: ActivationCheckpointing, sizes: dict[str, int]
) -> None:
    config, num_tokens, dtype = tiny_qwen(**sizes), 32, torch.bfloat16
    language_model = build(config, device="cpu", dtype=dtype)
    wrapped = PackedLanguageModel(language_model, loss_chunk_tokens=8)
    sharding = make_sharding(
        activation_checkpointing=mode, micro_batch_tokens=None, loss_chunk_tokens=8
    )
    shard(
        wrapped,
        ranks=join_ranks(sharding),
        config=sharding,
        adapter_rank=0,
        compute="float32",
        reduce="float32",
    )
    body = language_model.model
    hidden = torch.randn(1, num_tokens, config.hidden_size, dtype=dtype, requires_grad=True)
    rotary = body.rotary_emb(hidden, torch.arange(num_tokens)[None])

    with find_storages() as kept:
        output = body.layers[1](hidden, position_embeddings=rotary, attention_mask=None)

    counted = kept.keys() - {output.untyped_storage().data_ptr()}
    # A checkpointed layer keeps its input, which was alive before.
    held = dtype.itemsize * config.hidden_size
    planned = read_shape(config.to_dict()).count_layer_bytes(
        mode=mode, compute_bytes=dtype.itemsize
    )
    measured = sum(kept[pointer] for pointer in counted) / num_tokens + held
    assert measured == pytest.approx(planned, rel=0.02)


def test_full_checkpointing_keeps_the_inputs_of_the_layers() -> None:
    shape = qwen_32b()

    layer = shape.count_layer_bytes(mode=ActivationCheckpointing.FULL, compute_bytes=2)

    # Reference arithmetic: 655 KB a token in 64 layers.
    assert shape.num_layers * layer == pytest.approx(655e3, rel=1e-3)


def test_full_checkpointing_computes_the_layers_forward_again() -> None:
    shape = qwen_32b()

    again = shape.count_recompute(mode=ActivationCheckpointing.FULL).of_document(5200)

    without_head = (
        shape.count_flops(num_adapters=None).of_document(5200) - 6 * shape.num_head * 5200
    )
    assert again == pytest.approx(without_head / 3)


def test_selective_checkpointing_lies_between_none_and_full() -> None:
    shape = qwen_32b()
    modes = list(ActivationCheckpointing)

    kept = {mode: shape.count_layer_bytes(mode=mode, compute_bytes=2) for mode in modes}
    again = {mode: shape.count_recompute(mode=mode).of_document(5200) for mode in modes}

    none, selective, full = modes
    assert kept[none] > kept[selective] > kept[full]
    assert again[none] == 0 < again[selective] < again[full]
    # Reference: selective checkpointing adds about 10 % to a step, full one third.
    assert again[selective] / shape.count_flops(num_adapters=None).of_document(
        5200
    ) == pytest.approx(0.11, abs=0.02)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "mamba"}, r"model_type='mamba' cannot be planned; known are .*qwen2"),
        ({"model_type": "qwen2"}, r"hidden_size=None, which must be a positive integer"),
        (
            {**QWEN_32B, "model_type": "qwen2", "vocab_size": 0},
            r"vocab_size=0, which must be a positive integer.*complete model directory",
        ),
    ],
)
def test_a_config_that_cannot_be_planned_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_shape(config)


def test_key_heads_are_copied_for_more_ranks_than_heads() -> None:
    shape = qwen_32b()

    # 40 query and 8 key heads of 128: queries, outputs, keys and values.
    assert shape.count_exchanged(degree=8) == 2 * 5120 + 2 * 1024
    assert shape.count_exchanged(degree=20) == 2 * 5120 + 2 * 20 * 128


def test_an_unknown_adapter_target_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lora.targets names \['qkv'\].*Choose from"):
        qwen_32b().count_adapters(rank=8, targets=("qkv", "q_proj"))
