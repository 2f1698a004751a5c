"""The house's own training loop, one optimizer step each time it is told to.

python -m s1ray.suites.trainers.house_trainer REQUEST.json: a process started by the suite, alone
or as one of several ranks that torchrun has joined. Ray Train's workers call ``take_steps``.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from s1ray.config.training import ShardingConfig, TrainingConfig
from s1ray.records import TokenizedExample
from s1ray.suites.measuring.gate import Gate
from s1ray.training.host_memory import keep_freed_memory
from s1ray.training.loop import start_state, train
from s1ray.training.network.sharding import join_ranks


def take_steps(request: Mapping[str, Any], *, gate_path: str, name: str) -> None:
    """Load, join the gate, and train until nothing more is wanted; every rank is told for itself.

    Args:
        request: The model's directory, examples, and the two parts of the configuration.
        gate_path: The gate's socket.
        name: Of this side.
    """
    torch.set_num_threads(request["num_threads"])
    keep_freed_memory()
    training = TrainingConfig.model_validate(request["training"])
    sharding = ShardingConfig.model_validate(request["sharding"])
    ranks = join_ranks(sharding)
    state = start_state(Path(request["model"]), training=training, sharding=sharding, ranks=ranks)
    examples = [
        TokenizedExample(
            key=row["key"],
            input_ids=tuple(row["input_ids"]),
            num_prompt_tokens=row["num_prompt_tokens"],
            num_truncated_tokens=0,
        )
        for row in request["examples"]
    ]
    steps = train(state, examples=examples, training=training, sharding=sharding, ranks=ranks)
    gate = Gate(gate_path, name=name)
    while gate.wait():
        metrics = next(steps)
        gate.report(
            {
                "loss": metrics.loss_nats,
                "seconds": metrics.seconds,
                "peak": metrics.peak_memory_gib,
            }
        )


def _run(request: Mapping[str, Any]) -> None:
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    take_steps(request, gate_path=os.environ["S1RAY_GATE"], name=os.environ["S1RAY_SIDE"])
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    _run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
