"""Committed checkpoints without tensors: two small files and their manifest."""

from pathlib import Path

from s1ray.training.checkpoints.commit import (
    CheckpointKind,
    Manifest,
    name_checkpoint,
    record_file,
    write_manifest,
)

IDENTITY = {"data": "d1", "tokenizer": "t1", "learning_rate": "0.001"}
PAYLOAD = b"weights " * 40


def commit(directory: Path, *, step: int, kind: CheckpointKind = CheckpointKind.TEMPORARY) -> Path:
    checkpoint = name_checkpoint(directory, step=step)
    (checkpoint / "__0_0.distcp").write_bytes(PAYLOAD)
    (checkpoint / ".metadata").write_bytes(b"metadata")
    write_manifest(checkpoint, make_manifest(checkpoint, step=step, kind=kind))
    return checkpoint


def make_manifest(checkpoint: Path, *, step: int, kind: CheckpointKind) -> Manifest:
    return Manifest(
        step=step,
        samples_consumed=4 * step,
        kind=kind,
        world_size=1,
        identity=IDENTITY,
        time=1.5e9 + step / 3,
        files={name: record_file(checkpoint / name) for name in ("__0_0.distcp", ".metadata")},
    )
