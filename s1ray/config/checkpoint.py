"""The schema of conf/checkpoint: when checkpoints are saved and kept, and what is exported."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from s1ray.config.base import Section


class ExportDtype(StrEnum):
    """In which type weights are exported."""

    MODEL = "model"
    """The one that the base model's config.json names."""
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class ExportConfig(Section):
    """The Hugging Face directory at the end of training."""

    dtype: ExportDtype
    shard_gib: Annotated[float, Field(gt=0)]
    """Largest size of one safetensors file."""
    merge_adapter: bool
    """Whether an adapter's product is added to the base weights and whole weights are written;
    without an adapter it has no effect."""


class CheckpointConfig(Section):
    """When checkpoints are saved, which are kept, and which one a run goes on from."""

    resume: Annotated[str, Field(min_length=1)]
    """``auto``: from the newest good checkpoint, else from the start. ``must``: refuse to start
    without one. ``never``: delete the run's checkpoints and start over. Else the path of one;
    where it is the run's own, the run's later ones are deleted. Both are done once: until the run
    is finished, the same goes on as ``auto`` does."""
    allow_drift: tuple[str, ...]
    """Parts of the identity (data, tokenizer, ...) in which checkpoint and run may differ."""
    permanent_every_steps: Annotated[int, Field(ge=1)] | None
    """null: only the last step's checkpoint is permanent."""
    keep_permanent: Annotated[int, Field(ge=1)] | None
    """Newest permanent checkpoints that stay; null: all."""
    max_lost_seconds: Annotated[float, Field(gt=0)] | None
    """Most work that a crash can cost: temporary checkpoints are begun so early that they are
    committed by then. null: none are saved."""
    temporary_write_share: Annotated[float, Field(gt=0, le=1)]
    """Most of the time that may go into writing them. A disk too slow for that makes them rarer,
    and a crash cost more."""
    keep_temporary: Annotated[int, Field(ge=1)]
    """Newest temporary checkpoints that stay."""
    mode: Literal["asynchronous", "synchronous"]
    """asynchronous: training goes on while a copy in host memory is written."""
    verify_threads: Annotated[int, Field(ge=1)]
    """Files that are hashed at the same time."""
    commit_timeout_seconds: Annotated[float, Field(gt=0)]
    """How long a rank waits for the others to have written their part."""
    export: ExportConfig
