"""What a fine-tune's workers ask of the Ray that they run on, checked before any is started."""

from pathlib import Path
from typing import Any

from ray.train import ScalingConfig

from s1ray.config.recipe import Recipe
from s1ray.config.tracking import RayConfig
from s1ray.config.training import ShardingConfig
from s1ray.orchestration.cluster.room import Need, await_room
from s1ray.orchestration.cluster.storage import refuse_unreadable, refuse_unshared
from s1ray.training.fine_tune import FineTuneJob

_SHARE_MODEL = (
    "put HF_HOME or paths.cache on shared storage, or set model.source to a shared directory"
)
_SHARE_FILES = "copy it to shared storage and set {} to it there"


def check_num_workers(recipe: Recipe) -> None:
    """Check how many workers are wanted and how few may do.

    Raises:
        ValueError: It may do with more than are wanted.
    """
    fewest, most = recipe.ray.min_workers, recipe.sharding.num_workers
    if fewest is not None and fewest > most:
        raise ValueError(
            f"ray.min_workers={fewest} is more than sharding.num_workers={most}. Set it to 1 to "
            f"{most}, or to null for always {most}."
        )


def check_nodes(job: FineTuneJob, settings: RayConfig, *, traces_path: Path) -> None:
    """Ask the nodes of the Ray that is connected for what the workers read, write and hold.

    Raises:
        RefusedError: A node lacks files, or there are too few processors for good.
    """
    await_room(describe_need(settings, job.sharding))
    resource = "GPU" if job.sharding.device == "cuda" else "CPU"
    refuse_unshared(job.run_path, resource=resource)
    for path, remedy in (
        (job.model_path, _SHARE_MODEL),
        (traces_path, _SHARE_FILES.format("traces")),
        (job.resume_from, _SHARE_FILES.format("checkpoint.resume")),
    ):
        if path is not None:
            refuse_unreadable(path, resource=resource, remedy=remedy)


def describe_workers(settings: RayConfig, sharding: ShardingConfig) -> ScalingConfig:
    """Return how many workers Ray Train is to start, and what each holds."""
    num_workers: Any = sharding.num_workers  # Ray's annotation lacks the range it documents
    if settings.min_workers is not None:
        num_workers = (settings.min_workers, num_workers)
    return ScalingConfig(
        num_workers=num_workers,
        use_gpu=sharding.device == "cuda",
        resources_per_worker=_hold(settings, sharding),
    )


def describe_need(settings: RayConfig, sharding: ShardingConfig) -> Need:
    """Return what the fewest workers that may train hold together."""
    return Need(
        name="training workers",
        count=settings.min_workers or sharding.num_workers,
        each=_hold(settings, sharding),
        remedy="lower sharding.num_workers or ray.worker_cpus",
    )


def _hold(settings: RayConfig, sharding: ShardingConfig) -> dict[str, float]:
    return {"CPU": settings.worker_cpus} | ({"GPU": 1} if sharding.device == "cuda" else {})
