"""What a training run exported is read as a model, or as an adapter beside its base."""

from pathlib import Path

import pytest

from s1ray.orchestration.models import PreparedModel, read_export, read_model
from tests.fakes import write_tiny_qwen2
from tests.orchestration.adapters import write_adapter


@pytest.fixture
def base(tmp_path: Path) -> PreparedModel:
    return read_model(write_tiny_qwen2(tmp_path / "base"))


def test_whole_model_is_its_own_base(base: PreparedModel, tmp_path: Path) -> None:
    export = write_tiny_qwen2(tmp_path / "export", seed=1)

    model = read_export(export, base=base)

    assert model == read_model(export)
    assert model.adapter is None


def test_adapter_keeps_its_base_and_has_weights_of_its_own(
    base: PreparedModel, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "adapter")

    model = read_export(adapter, base=base)

    assert (model.path, model.adapter) == (base.path, adapter)
    assert model.fingerprint.weights != base.fingerprint.weights
    assert model.fingerprint.tokenizer == base.fingerprint.tokenizer


def test_adapter_is_identified_by_its_values_and_settings_not_by_where_its_base_lies(
    base: PreparedModel, tmp_path: Path
) -> None:
    variants = {
        "first": {"value": 1.0, "rank": 4, "base_path": "here"},
        "moved": {"value": 1.0, "rank": 4, "base_path": "there"},
        "trained": {"value": 2.0, "rank": 4, "base_path": "here"},
        "wider": {"value": 1.0, "rank": 8, "base_path": "here"},
    }

    weights = {
        name: read_export(
            write_adapter(tmp_path / name, **options),  # type: ignore[arg-type]
            base=base,
        ).fingerprint.weights
        for name, options in variants.items()
    }

    assert weights["first"] == weights["moved"]
    assert len(set(weights.values())) == 3


def test_adapter_without_its_values_is_refused(base: PreparedModel, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    (adapter / "adapter_model.safetensors").unlink()

    with pytest.raises(ValueError, match=r"has no adapter_model\.safetensors"):
        read_export(adapter, base=base)
