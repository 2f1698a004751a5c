"""What Ray Train costs a step, beside torchrun: one loop, one model, the same samples.

Both are loaded at the same time and take turns; a step's time is the slowest rank's.
"""

import json
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from s1ray.config.suites.training import LaunchersConfig
from s1ray.model_source.random_model import write_random_qwen2
from s1ray.suites.launchers import ray_driver
from s1ray.suites.measuring.gate import GatedSide, Program, open_gate
from s1ray.suites.measuring.pairs import Side, compare_pairs, measure_in_turn
from s1ray.suites.suite import Outcome
from s1ray.suites.trainers import house_trainer
from s1ray.suites.trainers.requests import describe_environment

RAY, TORCHRUN = "ray_train", "torchrun"


def compare_launchers(config: LaunchersConfig) -> Outcome:
    """Compare the step time of Ray Train with that of torchrun.

    Raises:
        RuntimeError: The two losses of a step differ in a bit, or a launcher ended.
    """
    with TemporaryDirectory(prefix="s1ray-launchers-") as room:
        directory = Path(room)
        request = _write_request(config, directory)
        programs = {
            TORCHRUN: _program(
                [
                    *("-m", "torch.distributed.run", "--rdzv-backend=c10d"),
                    *("--rdzv-endpoint=127.0.0.1:0", f"--nproc-per-node={_count(config)}"),
                    *("-m", house_trainer.__name__, str(request)),
                ],
                config,
            ),
            RAY: _program(["-m", ray_driver.__name__, str(request)], config),
        }
        with open_gate(programs, directory=directory, start_seconds=config.start_seconds) as gated:
            losses: dict[str, list[float]] = {name: [] for name in gated}
            sides = {name: _time_steps(side, losses[name]) for name, side in gated.items()}
            measure_in_turn(sides, num_pairs=1)  # warms up
            spreads = measure_in_turn(sides, num_pairs=config.num_pairs)
    if losses[RAY] != losses[TORCHRUN]:
        raise RuntimeError(f"the losses differ between the launchers: {losses}")
    ratio = compare_pairs(spreads[RAY], spreads[TORCHRUN])
    return Outcome(
        summary=f"a step under Ray Train takes {ratio.median:.3f} of torchrun's time "
        f"({spreads[TORCHRUN].median * 1e3:.0f} ms, {_count(config)} workers, losses bit-equal)",
        results={
            "ray_train_over_torchrun": ratio.describe(),
            "seconds": {name: spread.describe() for name, spread in spreads.items()},
            "num_workers": _count(config),
        },
    )


def _time_steps(side: GatedSide, losses: list[float]) -> Side:
    def step() -> float:
        answer = side.step()
        losses.append(answer["loss"])
        return float(answer["seconds"])

    return step


def _count(config: LaunchersConfig) -> int:
    return config.sharding.num_workers


def _program(arguments: list[str], config: LaunchersConfig) -> Program:
    return Program(
        command=[sys.executable, *arguments],
        environment=describe_environment(1),
        num_processes=_count(config),
    )


def _write_request(config: LaunchersConfig, directory: Path) -> Path:
    model = directory / "model"
    model.mkdir()
    write_random_qwen2(model, shape=config.model)
    rng = random.Random(config.training.seed)
    num_steps = config.num_pairs + 1
    request: dict[str, Any] = {
        "model": str(model),
        "num_threads": 1,
        "directory": str(directory),
        "ray": config.ray.model_dump(mode="json"),
        "training": config.training.model_dump(mode="json"),
        "sharding": config.sharding.model_dump(mode="json"),
        "examples": [
            {
                "key": str(index),
                "input_ids": [
                    rng.randrange(_SMALL_VOCABULARY) for _ in range(config.sample_tokens)
                ],
                "num_prompt_tokens": 0,
            }
            for index in range(num_steps * config.training.global_batch_size)
        ],
    }
    path = directory / "request.json"
    path.write_text(json.dumps(request), encoding="utf-8")
    return path


_SMALL_VOCABULARY = 256  # the random model's tokenizer is made of bytes
