"""Ray Train around the house's training loop: a process of its own, so that Ray ends with it.

python -m s1ray.suites.launchers.ray_driver REQUEST.json: started by the suite.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from s1ray.config.tracking import RayConfig
from s1ray.orchestration.cluster.session import ray_session
from s1ray.suites.trainers.house_trainer import take_steps


def train_worker(config: Mapping[str, Any]) -> None:
    """Run the loop on one worker."""
    take_steps(config["request"], gate_path=config["gate"], name=config["name"])


def _run(request: Mapping[str, Any]) -> None:
    settings = RayConfig.model_validate(request["ray"])
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    with ray_session(settings):
        TorchTrainer(
            train_worker,
            train_loop_config={
                "request": request,
                "gate": os.environ["S1RAY_GATE"],
                "name": os.environ["S1RAY_SIDE"],
            },
            scaling_config=ScalingConfig(
                num_workers=request["sharding"]["num_workers"],
                resources_per_worker={"CPU": settings.worker_cpus},
            ),
            run_config=RunConfig(name="launchers", storage_path=request["directory"]),
        ).fit()


if __name__ == "__main__":
    _run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
