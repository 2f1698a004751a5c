"""Families of transformers: trained on the loss that they have there, or refused in time."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from s1ray.training.network.architecture import check_heads, check_trainable, read_architecture
from s1ray.training.network.model import create_causal_lm
from tests.training.plain_loop import (
    SHAPE,
    compute_plain_gradient,
    draw_examples,
    measure_house_gradient,
)

EXAMPLES = draw_examples(5, num_samples=4, longest=40)
TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
WINDOW = {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}


def save_family(path: Path, model_type: str, **changes: Any) -> Path:
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **(SHAPE | TOKENS | changes))
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(path)
    return path


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        ("qwen2", WINDOW | {"max_window_layers": 2}),
        ("qwen3", {"head_dim": 8}),
        ("llama", {}),
        ("mistral", {"sliding_window": None}),
        ("phi3", {}),
        ("olmo2", {}),
    ],
)
def test_family_is_trained_on_the_loss_of_transformers(
    tmp_path: Path, model_type: str, changes: dict[str, Any]
) -> None:
    path = save_family(tmp_path, model_type, **changes)

    metrics, _ = measure_house_gradient(path, EXAMPLES, weighting="sample")

    loss, _ = compute_plain_gradient(path, EXAMPLES, weighting="sample")
    assert metrics.loss_nats == pytest.approx(loss, abs=1e-5)


@pytest.mark.parametrize(
    ("model_type", "changes", "message"),
    [
        ("granite", {"logits_scaling": 8.0}, r"granite are capped or scaled \(logits_scaling=8"),
        ("cohere", {}, r"cohere are capped or scaled \(logit_scale=0\.0625\)"),
        ("gemma2", {"head_dim": 8}, r"capped or scaled \(final_logit_softcapping=30"),
        ("mistral", {"sliding_window": 8}, r"sliding_window=8.*sliding_window=null \(Mistral"),
        ("qwen2", WINDOW, r"layers of sliding_attention.*use_sliding_window=false \(Qwen"),
        ("gpt_oss", {"head_dim": 8}, "layers of sliding_attention"),
        ("qwen3_next", {}, "layers of linear_attention"),
    ],
)
def test_family_that_would_be_trained_on_another_loss_is_refused(
    tmp_path: Path, model_type: str, changes: dict[str, Any], message: str
) -> None:
    AutoConfig.for_model(model_type, **(SHAPE | TOKENS | changes)).save_pretrained(tmp_path)

    with pytest.raises(ValueError, match=message):
        check_trainable(tmp_path, degree=1)
    with pytest.raises(ValueError, match=message):
        create_causal_lm(tmp_path, dtype=torch.float32)


@pytest.mark.parametrize("model_type", ["llama", "gpt_neox"])
def test_sequence_parallelism_that_does_not_fit_the_heads_names_what_does(model_type: str) -> None:
    # A config of GPT-NeoX has no num_key_value_heads.
    shape = {name: size for name, size in SHAPE.items() if name != "num_key_value_heads"}
    config = AutoConfig.for_model(model_type, **shape)

    check_heads(config, degree=4)
    with pytest.raises(ValueError, match=r"sequence_parallel=3 does not fit .*one of \[1, 2, 4\]"):
        check_heads(config, degree=3)


def test_directory_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        read_architecture(tmp_path)
