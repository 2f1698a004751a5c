"""Small training runs that checkpoint tests interrupt, and what ranks do in them."""

import os
import signal
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from s1ray.config.checkpoint import CheckpointConfig, ExportDtype
from s1ray.config.training import ShardingConfig, TrainingConfig
from s1ray.training.checkpoints import checkpoint as checkpoint_module
from s1ray.training.checkpoints.checkpoint import (
    Position,
    collect_tensors,
    read_random_state,
    write_checkpoint,
)
from s1ray.training.checkpoints.commit import CheckpointKind, name_checkpoint
from s1ray.training.checkpoints.peers import Peers, join_peers
from s1ray.training.checkpoints.restoration import load_checkpoint
from s1ray.training.checkpoints.saver import CheckpointSaver
from s1ray.training.export import export_adapter, export_model
from s1ray.training.loop import TrainState, start_state, train
from s1ray.training.network.sharding import join_ranks
from tests.fakes import full_disk
from tests.training.plain_loop import draw_examples, make_optimizer, make_sharding, make_training

IDENTITY = {"data": "d1", "tokenizer": "t1"}
EXAMPLES = draw_examples(0, num_samples=10, longest=50)
SHARDING = make_sharding()
TRAINING = make_training(num_epochs=2, optimizer=make_optimizer(warmup_ratio=0.2))
"""Six steps; the epoch ends after the third."""
LORA = {"rank": 3, "alpha": 5.0, "targets": ["q_proj", "down_proj"], "base_dtype": "float32"}
LORA_TRAINING = make_training(num_epochs=2, lora=LORA)
PEFT_ASKS_TRANSFORMERS = pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"
)
"""For tests of adapters: peft asks transformers for what is deprecated there."""


def make_checkpointing(**changes: object) -> CheckpointConfig:
    values: dict[str, object] = {
        "resume": "auto",
        "allow_drift": (),
        "permanent_every_steps": None,
        "keep_permanent": None,
        "max_lost_seconds": None,
        "temporary_write_share": 0.2,
        "keep_temporary": 2,
        "mode": "synchronous",
        "verify_threads": 1,
        "commit_timeout_seconds": 300.0,
        "export": {"dtype": "model", "shard_gib": 1.0, "merge_adapter": True},
    }
    return CheckpointConfig.model_validate(values | changes)


def start(
    model: Path, *, training: TrainingConfig = TRAINING, sharding: ShardingConfig = SHARDING
) -> TrainState:
    return start_state(model, training=training, sharding=sharding, ranks=join_ranks(sharding))


def advance(
    state: TrainState,
    num_steps: int | None,
    *,
    training: TrainingConfig = TRAINING,
    sharding: ShardingConfig = SHARDING,
) -> TrainState:
    """Train for some steps, or to the end."""
    steps = train(
        state,
        examples=EXAMPLES,
        training=training,
        sharding=sharding,
        ranks=join_ranks(sharding),
    )
    for _ in islice(steps, num_steps):
        pass
    return state


def read_tensors(state: TrainState) -> dict[str, Tensor]:
    """Return whole copies of everything that a checkpoint must bring back; a collective call."""
    tensors = collect_tensors(state.model, state.optimizer)
    return {
        name: (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).clone()
        for name, tensor in tensors.items()
    }


def find_difference(expected: dict[str, Tensor], found: dict[str, Tensor]) -> str | None:
    if expected.keys() != found.keys():
        return f"names: {sorted(expected.keys() ^ found.keys())}"
    unequal = [name for name in expected if not torch.equal(expected[name], found[name])]
    return unequal[0] if unequal else None


def save(state: TrainState, directory: Path, *, peers: Peers | None = None) -> Path:
    peers = peers or join_peers(timeout_seconds=300)
    saved = write_checkpoint(
        collect_tensors(state.model, state.optimizer),
        read_random_state(),
        peers.decide(lambda: name_checkpoint(directory, step=state.step)),
        position=Position(
            step=state.step,
            samples_consumed=state.samples_consumed,
            kind=CheckpointKind.PERMANENT,
            identity=IDENTITY,
        ),
        peers=peers,
    )
    return Path(saved.path)


def load(state: TrainState, checkpoint: Path, *, peers: Peers | None = None) -> TrainState:
    load_checkpoint(
        state,
        checkpoint,
        identity=IDENTITY,
        allow_drift=(),
        peers=peers or join_peers(timeout_seconds=300),
    )
    return state


def work_on_two_ranks(model: Path, directory: Path, single: Path) -> dict[str, Any]:
    """Run everything that needs two ranks, in one start of processes.

    Args:
        model: A model directory.
        directory: For what is written.
        single: A checkpoint of step 3 that one process saved.
    """
    sharding = make_sharding(num_workers=2)
    peers = join_peers(timeout_seconds=300)
    ours: dict[str, Any] = {}
    whole = advance(start(model, sharding=sharding), 3, sharding=sharding)
    ours["checkpoint"] = str(save(whole, directory / "pair", peers=peers))
    ours["at_save"] = read_tensors(whole)
    ours["uninterrupted"] = read_tensors(advance(whole, None, sharding=sharding))
    again = load(start(model, sharding=sharding), Path(ours["checkpoint"]), peers=peers)
    ours["resumed"] = read_tensors(advance(again, None, sharding=sharding))
    other = load(start(model, sharding=sharding), single, peers=peers)
    ours["from_single"] = read_tensors(other)
    ours["from_single_end"] = read_tensors(advance(other, None, sharding=sharding))
    ours["stop"] = _stop_from_rank_1(model, directory, sharding=sharding, rank=peers.rank)
    ours["full_disk"] = _fill_disk_of_rank_1(whole, directory, peers=peers)
    _export(model, directory, whole, sharding=sharding, peers=peers)
    return ours


def _stop_from_rank_1(
    model: Path, directory: Path, *, sharding: ShardingConfig, rank: int
) -> list[tuple[bool, list[int]]]:
    saver = CheckpointSaver(
        directory / "stopped",
        config=make_checkpointing(mode="asynchronous", permanent_every_steps=2),
        identity=IDENTITY,
    )
    state = start(model, sharding=sharding)
    seen = []
    for step in (1, 2, 3):
        advance(state, 1, sharding=sharding)
        outcome = saver.after_step(
            state, is_last=False, is_stopping=rank == 1 and step == 3, is_hurried=False
        )
        seen.append((outcome.is_stopping, [ref.step for ref in outcome.committed]))
    saver.close()
    return seen


def _fill_disk_of_rank_1(state: TrainState, directory: Path, *, peers: Peers) -> str:
    limit = 20_000 if peers.rank == 1 else 1 << 30
    try:
        with full_disk(limit_bytes=limit):
            save(state, directory / "full", peers=peers)
    except OSError as error:
        return f"{error.errno} {error}"
    return "saved"


def _export(
    model: Path, directory: Path, state: TrainState, *, sharding: ShardingConfig, peers: Peers
) -> None:
    export_model(
        state.model,
        directory / "export",
        source=model,
        dtype=ExportDtype.MODEL,
        shard_gib=100_000 / 2**30,
        peers=peers,
    )
    adapted = start(model, training=LORA_TRAINING, sharding=sharding)
    advance(adapted, 3, training=LORA_TRAINING, sharding=sharding)
    export_adapter(
        adapted.model,
        directory / "adapter",
        source=model,
        base_model=str(model),
        base_revision=None,
        peers=peers,
    )
    export_model(
        adapted.model,
        directory / "merged",
        source=model,
        dtype=ExportDtype.FLOAT32,
        shard_gib=1.0,
        peers=peers,
    )


def die_before_the_manifest(model: str, directory: str) -> None:
    """Save step 2, train on, and be killed when all of step 3 but its manifest is written."""
    torch.set_num_threads(1)
    state = advance(start(Path(model)), 2)
    save(state, Path(directory))
    advance(state, 1)
    checkpoint_module.write_manifest = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    save(state, Path(directory))


if __name__ == "__main__":
    die_before_the_manifest(*sys.argv[1:])
