"""Which degrees of sequence parallelism a model's heads allow."""

from pathlib import Path

import pytest

from s1ray.model_source.heads import check_degree, list_legal_degrees
from s1ray.training.loop import start_state
from s1ray.training.network.sharding import join_ranks
from tests.training.plain_loop import make_sharding, make_training, save_tiny_model


def test_legal_degrees_of_real_models() -> None:
    # Heads of Qwen2.5-32B, Qwen2.5-7B and SmolLM2-135M, from their config.json.
    assert list_legal_degrees(num_heads=40, num_key_value_heads=8) == [1, 2, 4, 8, 40]
    assert list_legal_degrees(num_heads=28, num_key_value_heads=4) == [1, 2, 4, 28]
    assert list_legal_degrees(num_heads=9, num_key_value_heads=3) == [1, 3, 9]


def test_degree_that_does_not_fit_the_heads_names_the_legal_ones() -> None:
    with pytest.raises(ValueError, match=r"=2 .* 9 query and 3 key-value heads.*\[1, 3, 9\]"):
        check_degree(2, num_heads=9, num_key_value_heads=3)


def test_degree_is_checked_before_weights_are_read(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, is_tied=True)
    (tmp_path / "model.safetensors").unlink()

    with pytest.raises(ValueError, match=r"sequence_parallel=3 does not fit .*\[1, 2, 4\]"):
        start_state(
            tmp_path,
            training=make_training(),
            sharding=make_sharding(num_workers=3, sequence_parallel=3),
            ranks=join_ranks(make_sharding()),
        )
