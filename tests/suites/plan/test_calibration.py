"""What cuts of a model tell about a machine, against a machine whose rates are known."""

import json
from pathlib import Path

import pytest

from s1ray.suites.plan.calibration import cut_model, fit_rates, make_example
from tests.planning.plans import qwen_32b

RATE, DISPATCH = 1e12, 0.002


def _take(num_layers: int, num_tokens: int) -> float:
    """Seconds of a cut on the known machine: arithmetic of layers and head, and dispatch."""
    shape = qwen_32b()
    whole = shape.count_flops(num_adapters=None).of_document(num_tokens)
    head = 6.0 * shape.num_head * num_tokens
    flops = head + (whole - head) * num_layers / shape.num_layers
    return flops / RATE + num_layers * DISPATCH


def test_the_rates_of_a_known_machine_are_found() -> None:
    seconds = {(n, tokens): _take(n, tokens) for n in (1, 3) for tokens in (32, 512)}

    rates = fit_rates(seconds, shape=qwen_32b(), memory_rate=1e9)

    assert rates.flops == pytest.approx(RATE)
    assert rates.dispatch_seconds == pytest.approx(DISPATCH)
    assert rates.memory_rate == 1e9


def test_a_machine_that_is_too_busy_says_so() -> None:
    seconds = {(1, 32): 1.0, (1, 512): 0.5, (3, 32): 1.0, (3, 512): 0.5}

    with pytest.raises(RuntimeError, match="too busy"):
        fit_rates(seconds, shape=qwen_32b(), memory_rate=1e9)


def test_a_cut_is_the_model_with_fewer_layers(tmp_path: Path) -> None:
    model, cuts = tmp_path / "model", tmp_path / "cuts"
    model.mkdir()
    cuts.mkdir()
    config = {"num_hidden_layers": 4, "hidden_size": 8, "layer_types": ["full_attention"] * 4}
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (model / "model.safetensors").write_bytes(b"weights")

    cut = cut_model(model, num_layers=2, directory=cuts)

    assert json.loads((cut / "config.json").read_text()) == {
        "num_hidden_layers": 2,
        "hidden_size": 8,
    }
    assert (cut / "model.safetensors").read_bytes() == b"weights"


def test_an_example_has_its_tokens_and_its_prompt() -> None:
    example = make_example(100, prompt_share=0.2)

    assert len(example.input_ids) == 100
    assert example.num_prompt_tokens == 20
