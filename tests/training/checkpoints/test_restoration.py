"""Checkpoints that do not fit, or that are not what they seem, are refused and not run."""

import io
import os
import pickle
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.metadata import Metadata

from s1ray.training.checkpoints.checkpoint import collect_tensors
from tests.fakes import tiny_shape, write_tiny_qwen2
from tests.training.checkpoint_runs import (
    IDENTITY,
    LORA_TRAINING,
    PEFT_ASKS_TRANSFORMERS,
    advance,
    load,
    save,
    start,
)

pytestmark = PEFT_ASKS_TRANSFORMERS


def test_checkpoint_of_another_shape_or_kind_is_refused(tmp_path: Path, model: Path) -> None:
    checkpoint = save(advance(start(model), 1), tmp_path / "checkpoints")
    wider = write_tiny_qwen2(
        tmp_path / "wider", intermediate_size=tiny_shape().intermediate_size + 8
    )
    with pytest.raises(
        ValueError, match=r"another model.*down_proj.*\(64, 136\), checkpoint: \(64, 128\)"
    ):
        load(start(wider), checkpoint)
    with pytest.raises(ValueError, match=r"holds another model.*training.lora"):
        load(start(model, training=LORA_TRAINING), checkpoint)


def test_checkpoint_of_another_run_is_refused_unless_allowed(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = save(start(model), tmp_path)
    monkeypatch.setitem(IDENTITY, "data", "d2")
    with pytest.raises(ValueError, match=r"data is d2 and was d1.*allow_drift=\[data\]"):
        load(start(model), checkpoint)


class _OldPickler(pickle.Pickler):
    """Writes enumerations as Python 3.11.0 to 3.11.3 do."""

    def reducer_override(self, value: object) -> Any:
        return (getattr, (type(value), value.name)) if isinstance(value, Enum) else NotImplemented


def test_metadata_that_an_older_python_wrote_is_read(tmp_path: Path, model: Path) -> None:
    written = advance(start(model), 1)
    checkpoint = save(written, tmp_path)
    metadata = checkpoint / ".metadata"
    content = io.BytesIO()
    _OldPickler(content).dump(pickle.loads(metadata.read_bytes()))
    assert b"getattr" in content.getvalue()
    metadata.write_bytes(content.getvalue())

    read = load(start(model), checkpoint)

    expected = collect_tensors(written.model, written.optimizer)
    found = collect_tensors(read.model, read.optimizer)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("ran",))


class _Reaches:
    def __reduce__(self) -> tuple[Any, ...]:
        return (getattr, (Metadata, "__init__"))


@pytest.mark.parametrize(
    "content", [pickle.dumps(_Runs()), pickle.dumps(_Reaches()), b"", b"no pickle at all"]
)
def test_metadata_from_outside_is_not_run(
    tmp_path: Path, model: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = save(start(model), tmp_path)
    (checkpoint / ".metadata").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"metadata cannot be read.*checkpoint.resume=auto"):
        load(start(model), checkpoint)
    assert not (tmp_path / "ran").exists()


def test_unreadable_payload_is_an_ordinary_error(tmp_path: Path, model: Path) -> None:
    checkpoint = save(advance(start(model), 1), tmp_path)
    os.truncate(checkpoint / "__0_0.distcp", 100)
    with pytest.raises(RuntimeError, match=r"cannot be read.*checkpoint.resume=auto"):
        load(start(model), checkpoint)
