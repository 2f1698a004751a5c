"""How tests track a run, and what of it has come to the stand-in for W&B's server."""

from s1ray.config.tracking import TrackingConfig
from s1ray.orchestration.run_directory.runs import Run
from tests.orchestration.wandb_server import WandbServer


def make_tracking(
    mode: str, *, init_seconds: float = 60.0, finish_seconds: float = 120.0
) -> TrackingConfig:
    """Return settings that wait for a slow machine; a test of a limit makes it short."""
    return TrackingConfig.model_validate(
        {
            "mode": mode, "project": "s1ray-tests", "entity": "lab", "group": None, "tags": ("t",),
            "poll_seconds": 0.05, "init_timeout_seconds": init_seconds,
            "upload_timeout_seconds": finish_seconds / 2, "finish_timeout_seconds": finish_seconds,
            "max_restarts": 5, "restart_seconds": 0.5, "table_rows": 2,
        }
    )  # fmt: skip


def list_losses(server: WandbServer, run: Run) -> list[tuple[int, float]]:
    """Return the losses that the server has of a run, each with its step."""
    rows = server.history.get(run.name, [])
    return [(row["global_step"], row["train/loss"]) for row in rows if "train/loss" in row]
