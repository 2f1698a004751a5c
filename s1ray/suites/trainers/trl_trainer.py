"""TRL's SFTTrainer set up as s1's recipe, one optimizer step each time it is told to.

A program for an interpreter that has TRL and need not have s1ray: it imports nothing of this house.
It is told what to train in a JSON file, and when by the gate (``s1ray/suites/measuring/gate.py``).
"""

import json
import os
import resource
import socket
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer


class Gate(TrainerCallback):
    """Holds every optimizer step back until it is wanted, and times it."""

    def __init__(self) -> None:
        self.connection = socket.socket(socket.AF_UNIX)
        self.began = 0.0
        self.seconds = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """Join the gate: all is loaded."""
        self.connection.connect(os.environ["S1RAY_GATE"])
        self.lines = self.connection.makefile("rw", encoding="utf-8")
        self.answer({"name": os.environ["S1RAY_SIDE"]})

    def answer(self, content: dict[str, Any]) -> None:
        """Write one line of JSON."""
        self.lines.write(json.dumps(content) + "\n")
        self.lines.flush()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """Wait."""
        if self.lines.readline().strip() != "step":
            sys.exit(0)
        self.began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """Stop the clock: the optimizer has moved the weights."""
        self.seconds = time.perf_counter() - self.began

    def on_log(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:  # noqa: ANN401
        """Answer, once the step's loss is known."""
        logs = keywords["logs"]
        if "loss" not in logs:
            return
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        self.answer({"loss": state.log_history[-1]["loss"], "seconds": self.seconds, "peak": peak})


def build_trainer(request: dict[str, Any]) -> SFTTrainer:
    """Return the trainer: weights in float32, autocast where asked, nothing shuffled or cut."""
    optimizer = request["optimizer"]
    size = request["global_batch_size"]
    is_accumulated = request["mode"] == "accumulated"
    is_padding_free = request["mode"] == "padding_free"
    config = SFTConfig(
        output_dir=request["directory"],
        per_device_train_batch_size=1 if is_accumulated else size,
        gradient_accumulation_steps=size if is_accumulated else 1,
        padding_free=is_padding_free,
        max_length=None if is_padding_free else request["max_seq_len"],
        packing=False,
        num_train_epochs=1,
        learning_rate=optimizer["learning_rate"],
        lr_scheduler_type="cosine",
        warmup_steps=request["num_warmup_steps"],
        adam_beta1=optimizer["beta1"],
        adam_beta2=optimizer["beta2"],
        adam_epsilon=optimizer["epsilon"],
        weight_decay=optimizer["weight_decay"],
        max_grad_norm=optimizer["max_grad_norm"],
        bf16=request["compute_dtype"] == "bfloat16",
        use_cpu=True,
        gradient_checkpointing=False,
        shuffle_dataset=False,
        train_sampling_strategy="sequential",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    path = request["model"]
    return SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32),
        args=config,
        train_dataset=Dataset.from_list(request["rows"]),
        processing_class=AutoTokenizer.from_pretrained(path),
        callbacks=[Gate()],
    )


if __name__ == "__main__":
    told = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(told["num_threads"])
    build_trainer(told).train()
