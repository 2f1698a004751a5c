"""Who joins whom, and what the configuration refuses before anything starts."""

import pytest
import torch
from pydantic import ValidationError

from s1ray.training.sharding import join_ranks
from tests.training.plain_loop import make_sharding


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
        make_sharding(cpu_offload=True)


def test_varlen_attention_on_the_cpu_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"attention=varlen needs sharding\.device=cuda"):
        make_sharding(attention="varlen")
