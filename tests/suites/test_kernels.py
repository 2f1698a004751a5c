"""The two kernels' comparisons: equal results first, and a peak of memory that is one."""

from typing import Any

import pytest
import torch

from s1ray.config.suites.training import AttentionConfig, CrossEntropyConfig
from s1ray.config.training import AttentionBackend
from s1ray.suites.kernels import compare_attention, compare_cross_entropy
from s1ray.suites.measuring.memory import measure_peak_bytes

CPU = torch.device("cpu")
MIB = 2**20


def make_attention(**changes: Any) -> AttentionConfig:
    values = {
        "num_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "document_tokens": (5, 17, 9),
        "dtype": "float32",
        "tolerance": 1e-5,
        "repeats": 1,
    }
    return AttentionConfig.model_validate(values | changes)


def make_cross_entropy(**changes: Any) -> CrossEntropyConfig:
    values = {
        "positions": 1024,
        "hidden_size": 8,
        "vocabulary": 20_000,
        "dtype": "float32",
        "chunk_tokens": 32,
        "tolerance": 1e-4,
    }
    return CrossEntropyConfig.model_validate(values | changes)


def test_attention_is_compared_after_both_agree() -> None:
    outcome = compare_attention(
        make_attention(), backend=AttentionBackend.PER_DOCUMENT, device=CPU, num_pairs=2
    )

    assert outcome.results["largest_difference"] <= 1e-5
    assert len(outcome.results["dense_over_packed"]["values"]) == 2


def test_attention_that_differs_is_not_timed() -> None:
    with pytest.raises(RuntimeError, match=r"attention differ by .*suite\.attention\.tolerance"):
        compare_attention(
            make_attention(tolerance=1e-12),
            backend=AttentionBackend.PER_DOCUMENT,
            device=CPU,
            num_pairs=1,
        )


def test_chunked_loss_needs_less_memory_than_whole_logits() -> None:
    outcome = compare_cross_entropy(make_cross_entropy(), device=CPU, num_pairs=1)

    logits_mib = 1024 * 20_000 * 4 / MIB
    assert outcome.results["peak_mib"]["full"] > 2 * logits_mib
    assert outcome.results["full_over_chunked_peak_memory"] > 5


def test_peak_is_what_the_work_held_at_once() -> None:
    def work() -> None:
        torch.ones(64 * MIB, dtype=torch.uint8)
        torch.ones(128 * MIB, dtype=torch.uint8)

    peak = measure_peak_bytes(work, device=CPU)

    assert 127 * MIB <= peak < 150 * MIB  # the last page may have been there already
