"""Who joins whom, and what the configuration refuses before anything starts."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

from s1ray.config.training import LoraConfig
from s1ray.training.loop import start_state
from s1ray.training.network.sharding import join_ranks
from tests.training.plain_loop import (
    compute_plain_gradient,
    draw_examples,
    make_sharding,
    make_training,
    measure_house_gradient,
    save_tiny_model,
)
from tests.training.ranks import run_on_ranks


def test_single_process_needs_no_group() -> None:
    ranks = join_ranks(make_sharding())

    assert (ranks.rank, ranks.world_size, ranks.num_groups) == (0, 1, 1)
    assert ranks.shard_mesh is None


def test_missing_processes_are_counted() -> None:
    with pytest.raises(ValueError, match=r"num_workers=4, but 1 processes have joined"):
        join_ranks(make_sharding(num_workers=4))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no CUDA device"):
        join_ranks(make_sharding(device="cuda"))


@pytest.mark.parametrize("name", ["sequence_parallel", "replicas"])
def test_degree_that_does_not_divide_the_workers_names_the_legal_ones(name: str) -> None:
    with pytest.raises(ValidationError, match=rf"{name}=4 does not divide .*=6.*\[1, 2, 3, 6\]"):
        make_sharding(num_workers=6, **{name: 4})


def test_cpu_offload_on_the_cpu_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"cpu_offload=true needs sharding\.device=cuda"):
        make_sharding(num_workers=2, cpu_offload=True)


def test_cpu_offload_of_a_single_process_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"cpu_offload=true needs sharding\.num_workers of 2"):
        make_sharding(device="cuda", attention="varlen", cpu_offload=True)


def test_varlen_attention_on_the_cpu_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"attention=varlen needs sharding\.device=cuda"):
        make_sharding(attention="varlen")


class ProductCounter(TorchDispatchMode):
    """Counts the matrix products of what runs inside, those with a rank's side left out."""

    num_products = 0

    def __init__(self, *, adapter_rank: int) -> None:
        super().__init__()
        self.adapter_rank = adapter_rank

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
            sides = {*args[-2].shape, *args[-1].shape}
            self.num_products += self.adapter_rank not in sides
        return func(*args, **(kwargs or {}))


def count_products(path: Path, checkpointing: str, lora: LoraConfig | None = None) -> int:
    with ProductCounter(adapter_rank=lora.rank if lora else 0) as counter:
        measure_house_gradient(
            path,
            draw_examples(0, num_samples=1, longest=20),
            weighting="sample",
            lora=lora,
            activation_checkpointing=checkpointing,
        )
    return counter.num_products


def test_checkpointing_computes_again_what_it_says(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, is_tied=True)

    none, selective, full = (count_products(tmp_path, m) for m in ("none", "selective", "full"))

    # Of each of the two layers' seven products, the last is never needed again. Selective keeps
    # two of the four that do not narrow: query and gate.
    assert full - none == 2 * 6
    assert selective - none == 2 * 4


def test_adapters_change_nothing_in_which_products_are_kept(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, is_tied=True)
    targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj")
    lora = LoraConfig(rank=4, alpha=8, targets=targets, base_dtype="float32")

    none, selective = (count_products(tmp_path, mode, lora) for mode in ("none", "selective"))

    assert selective - none == 2 * 4


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("checkpointing", ["none", "selective", "full"])
def test_compiled_layers_give_the_gradient_of_the_plain_loop(
    tmp_path: Path, checkpointing: str
) -> None:
    save_tiny_model(tmp_path, is_tied=True)
    examples = draw_examples(0, num_samples=5, longest=60)
    loss, expected = compute_plain_gradient(tmp_path, examples, weighting="sample")

    with warnings.catch_warnings(action="ignore"):  # inductor's own
        metrics, gradients = measure_house_gradient(
            tmp_path,
            examples,
            weighting="sample",
            compile=True,
            activation_checkpointing=checkpointing,
        )

    assert metrics.loss_nats == pytest.approx(loss, abs=1e-5)
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, atol=1e-5, rtol=0)


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements of any tensor with memory of its own that comes into being."""

    def __init__(self) -> None:
        super().__init__()
        self.num_elements = 0
        self._mapped: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            # A DTensor's memory is its local tensor, which passes here too.
            if not isinstance(tensor, torch.Tensor) or isinstance(tensor, DTensor):
                continue
            storage = tensor.untyped_storage()
            # safetensors sets a tensor over the mapped file: what is not read is not in memory.
            if func is torch.ops.aten.set_.source_Storage:
                self._mapped.add(storage.data_ptr())
            if tensor.device.type != "meta" and storage.data_ptr() not in self._mapped:
                self.num_elements = max(self.num_elements, tensor.numel())
        return result


def measure_loading(path: Path) -> tuple[int, int]:
    """Return the most elements of any tensor while a rank starts, and all that it then holds."""
    sharding, training = make_sharding(num_workers=2), make_training()
    with LargestTensor() as largest:
        state = start_state(path, training=training, sharding=sharding, ranks=join_ranks(sharding))
    held = sum(
        parameter.to_local().numel()  # type: ignore[attr-defined]
        for parameter in state.model.parameters()
    )
    return largest.num_elements, held


def test_no_rank_ever_holds_a_whole_weight_while_the_model_is_loaded(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "model", is_tied=False)
    whole = load_file(tmp_path / "model/model.safetensors")
    largest = max(weight.numel() for weight in whole.values())
    total = sum(weight.numel() for weight in whole.values())

    (first, held_first), (second, held_second) = run_on_ranks(
        2, tmp_path, measure_loading, tmp_path / "model"
    )

    # 97 words over two ranks are 49 rows and 48.
    assert max(first, second) == largest * 49 // 97
    assert held_first + held_second == total
