"""What a trainer is told, whoever it is: the same model, samples, order and settings.

It knows both trainers' vocabularies. Nothing is started here.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s1ray.chat_format import DELIMITERS
from s1ray.config.suites.training import TrainingSuiteSettings
from s1ray.config.training import LossWeighting, TrainingConfig
from s1ray.model_source.model_directory import load_tokenizer
from s1ray.orchestration.run_directory.runs import RefusedError
from s1ray.records import TokenizedExample
from s1ray.suites.measuring.gate import Program
from s1ray.suites.trainers import house_trainer
from s1ray.suites.trainers.mixture import draw_mixture
from s1ray.training.samples.batching import order_epoch
from s1ray.training.samples.examples import tokenize_traces
from s1ray.training.samples.packing import IGNORE_INDEX
from s1ray.training.schedule import build_schedule

PACKED, UNPACKED = "packed", "unpacked"
ACCUMULATED, PADDED, PADDING_FREE = "accumulated", "padded", "padding_free"
"""TRL's ways: micro-batch 1 with accumulation, as s1; its default batches; a row without a mask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What all trainers do."""

    model: Path
    examples: Sequence[TokenizedExample]
    training: TrainingConfig
    num_steps: int

    def list_samples(self, step: int) -> list[TokenizedExample]:
        """Return the samples of a step; 0 is the first."""
        order = order_epoch(len(self.examples), seed=self.training.seed, epoch=0)
        size = self.training.global_batch_size
        return [self.examples[i] for i in order[step * size : (step + 1) * size]]


def set_task(
    settings: TrainingSuiteSettings, model: Path, *, num_steps: int, compute_dtype: str
) -> Task:
    """Return one epoch of exactly ``num_steps`` steps.

    The loss is the mean over a step's tokens, since TRL has no other; everything else is the
    recipe's.

    Args:
        settings: Of the suite.
        model: The directory of its model.
        num_steps: How many.
        compute_dtype: In which.
    """
    config = settings.model
    training = settings.training.model_copy(
        update={
            "num_epochs": 1,
            "max_steps": None,
            "max_tokens": None,
            "loss_weighting": LossWeighting.TOKEN,
            "compute_dtype": compute_dtype,
        }
    )
    tokenized = tokenize_traces(
        draw_mixture(settings.trainers.mixture, num_samples=num_steps * training.global_batch_size),
        load_tokenizer(model),
        delimiters=DELIMITERS[config.delimiters],
        system_prompt=config.system_prompt,
        max_seq_len=training.max_seq_len,
        overflow=training.overflow,
    )
    return Task(model=model, examples=tokenized.examples, training=training, num_steps=num_steps)


def build_program(
    side: str, task: Task, settings: TrainingSuiteSettings, *, directory: Path, num_threads: int
) -> Program:
    """Write a side's request and return how it is started.

    Args:
        side: Its name.
        task: What both sides do.
        settings: Of the suite.
        directory: Where the request is written.
        num_threads: Of the program.
    """
    common = {"model": str(task.model), "num_threads": num_threads}
    if side in (PACKED, UNPACKED):
        request = common | _ask_house(side, task, settings)
        command = [sys.executable, "-m", house_trainer.__name__]
    else:
        request = common | _ask_trl(side, task) | {"directory": str(directory / side)}
        command = [settings.peer_python or sys.executable, trl_trainer_path()]
    path = directory / f"{side}.json"
    path.write_text(json.dumps(request), encoding="utf-8")
    return Program(
        command=[*command, str(path)],
        environment=describe_environment(num_threads),
        num_processes=1,
    )


def check_trl(settings: TrainingSuiteSettings) -> None:
    """Refuse to begin where the interpreter has no TRL, or another release of it.

    Raises:
        RefusedError: With how to get it.
    """
    python, wanted = settings.peer_python or sys.executable, settings.trainers.trl_version
    fix = (
        "Install it with `pip install -c constraints.txt -e '.[bench]'`, name the interpreter of "
        "an environment that has it (suite.peer_python=/path/to/bin/python), or leave this "
        "comparison out (parts=[...])."
    )
    script = "import importlib.metadata as m; print(m.version('trl'))"
    try:
        found = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False)
    except OSError as error:
        raise RefusedError(f"suite.peer_python={python} cannot be started: {error}.") from error
    version = found.stdout.strip()
    if found.returncode:
        raise RefusedError(f"TRL is not installed beside {python}. {fix}")
    if version.split(".")[:2] != wanted.split(".")[:2]:
        raise RefusedError(f"{python} has TRL {version}, the comparison is with {wanted}. {fix}")


def trl_trainer_path() -> str:
    """Return where the program for TRL's interpreter lies; it is never imported here."""
    return str(Path(__file__).with_name("trl_trainer.py"))


def _ask_house(side: str, task: Task, settings: TrainingSuiteSettings) -> dict[str, Any]:
    sharding = settings.sharding
    if side == UNPACKED:
        sharding = sharding.model_copy(update={"micro_batch_tokens": None})
    return {
        "training": task.training.model_dump(mode="json"),
        "sharding": sharding.model_dump(mode="json"),
        "examples": [
            {
                "key": example.key,
                "input_ids": list(example.input_ids),
                "num_prompt_tokens": example.num_prompt_tokens,
            }
            for example in task.examples
        ],
    }


def _ask_trl(side: str, task: Task) -> dict[str, Any]:
    training = task.training
    schedule = build_schedule(
        peak_learning_rate=training.optimizer.learning_rate,
        warmup_ratio=training.optimizer.warmup_ratio,
        num_steps=task.num_steps,
    )
    return {
        "mode": side,
        "global_batch_size": training.global_batch_size,
        "max_seq_len": training.max_seq_len,
        "compute_dtype": training.compute_dtype,
        "num_warmup_steps": schedule.num_warmup_steps,
        "optimizer": training.optimizer.model_dump(mode="json"),
        "rows": [
            {
                "input_ids": list(example.input_ids),
                "labels": [IGNORE_INDEX] * example.num_prompt_tokens
                + list(example.input_ids[example.num_prompt_tokens :]),
            }
            for step in range(task.num_steps)
            for example in task.list_samples(step)
        ],
    }


def describe_environment(num_threads: int) -> Mapping[str, str]:
    """Return the environment of a side: this house on its path, so many threads, no hub."""
    root = str(Path(__file__).parents[3])
    paths = [root, os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": str(num_threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
