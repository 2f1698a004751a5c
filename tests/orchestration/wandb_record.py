"""The W&B client's own record on disk, read back: what ``wandb sync`` would send."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

_BLOCK = 32768
_FULL, _LAST = 1, 4


def read_artifacts(path: Path) -> dict[str, dict[str, Any]]:
    """Return the artifacts of a ``.wandb`` file: type, metadata, files and references, by name."""
    artifacts = {}
    for record in _parse_records(path):
        logged = record.request.log_artifact.artifact
        artifact = logged if logged.name else record.artifact
        if artifact.name:
            contents = artifact.manifest.contents
            artifacts[artifact.name] = {
                "type": artifact.type,
                "metadata": json.loads(artifact.metadata or "{}"),
                "files": [item.path for item in contents if not item.ref],
                "references": [item.ref for item in contents if item.ref],
            }
    return artifacts


def read_summary(path: Path) -> dict[str, Any]:
    """Return the summary that was set, of a ``.wandb`` file."""
    return {
        (item.key or ".".join(item.nested_key)): json.loads(item.value_json)
        for record in _parse_records(path)
        if record.WhichOneof("record_type") == "summary"
        for item in record.summary.update
    }


def _parse_records(path: Path) -> Iterator[Any]:
    for data in _read_records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        yield record


def _read_records(content: bytes) -> Iterator[bytes]:
    """Yield the records of LevelDB's log format, behind W&B's header of 7 bytes."""
    position, parts = 7, b""
    while position + 7 <= len(content):
        left = _BLOCK - position % _BLOCK
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        if kind == 0:
            return
        parts += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (_FULL, _LAST):
            yield parts
            parts = b""
