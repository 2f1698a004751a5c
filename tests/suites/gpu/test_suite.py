"""The gpu suite's logic on a tiny shape and the CPU, on a machine without Ray."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT_RAY = """
import runpy, sys
sys.modules["ray"] = None  # importing it fails, as where it is not installed
sys.argv[0] = "jobs/benchmark.py"
runpy.run_module("jobs.benchmark", run_name="__main__")
"""
TINY = [
    "suite=gpu",
    "suite.num_pairs=1",
    "sharding@suite.sharding=cpu1",
    "suite.slices.shape={hidden_size: 32, intermediate_size: 48, num_attention_heads: 4, "
    "num_key_value_heads: 2, vocab_size: 97, max_position_embeddings: 256, rms_norm_eps: 1.0e-6, "
    "tie_word_embeddings: false, initializer_range: 0.02}",
    "suite.slices.num_layers=[1,2]",
    "suite.slices.document_tokens=[[20],[9,7]]",
    "suite.slices.activation_checkpointing=[none,full]",
    "suite.slices.compile=[false]",
    "suite.slices.warm_up_steps=1",
    "suite.attention.num_heads=4",
    "suite.attention.num_key_value_heads=2",
    "suite.attention.head_dim=8",
    "suite.attention.document_tokens=[5,9]",
    "suite.cross_entropy.positions=64",
    "suite.cross_entropy.hidden_size=8",
    "suite.cross_entropy.vocabulary=20000",
    "suite.cross_entropy.chunk_tokens=8",
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    storage = tmp_path_factory.mktemp("storage")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RAY, *TINY, f"paths.storage={storage}"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    content: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return content["parts"]  # type: ignore[return-value]


def test_every_combination_of_slices_is_measured(report: dict[str, dict[str, dict]]) -> None:
    slices = report["slices"]["slices"]

    assert len(slices) == 2 * 2 * 2
    found = slices["2 layers, 16 tokens, full, eager"]
    assert found["milliseconds"]["median"] > 0
    assert 0 < found["mfu"]["median"] < 1
    assert found["peak_memory_gib"] > 0


def test_kernels_are_measured_beside_the_plain_way(report: dict[str, dict[str, dict]]) -> None:
    assert report["attention"]["dense_over_packed"]["median"] > 0
    assert report["cross_entropy"]["chunked_over_full_time"]["median"] > 0
