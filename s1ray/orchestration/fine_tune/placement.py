"""The part of a cluster that Ray holds for a run's workers, given back also after a kill.

Ray Train leaves that to a helper that asks the dashboard whether its controller is alive: where no
dashboard runs, as on a Ray of our own, what a killed controller held would be held for as long as
the Ray lives. So the workers note it in the run's directory, whose one writer may free it.
"""

import time
from pathlib import Path

import ray
from ray import PlacementGroupID
from ray.util.placement_group import (
    PlacementGroup,
    get_current_placement_group,
    placement_group_table,
    remove_placement_group,
)

PLACEMENT = "placement.txt"
_CALM_SECONDS = 1.0
_MOST_SECONDS = 20.0
"""Of a stop: nothing may be asked for so long, and so long is waited at most; no result rests on
either."""


def note_placement(run_path: Path) -> None:
    """Write which placement group this worker lies in."""
    group = get_current_placement_group()
    if group is not None:
        (run_path / PLACEMENT).write_text(group.id.hex(), encoding="ascii")


def free_placement(run_path: Path) -> None:
    """Give back what the run's workers before held; nobody may be training there."""
    noted = run_path / PLACEMENT
    if not noted.exists():
        return
    name = noted.read_text(encoding="ascii")
    known = placement_group_table()
    if known.get(name, {}).get("state") not in (None, "REMOVED"):
        _remove(name)
    noted.unlink()


def free_awaited() -> None:
    """Give back what this job's controllers were still waiting for; they must have been ended.

    A controller whose job ends a moment before it does takes that for a fault and asks again, for a
    job that is gone: nobody would take that back, and it would be given processors (Ray 2.60).
    """
    job = ray.get_runtime_context().get_job_id()  # with which names of its groups end
    began = calm_since = time.monotonic()
    while (now := time.monotonic()) < min(calm_since + _CALM_SECONDS, began + _MOST_SECONDS):
        for name, group in placement_group_table().items():
            if name.endswith(job) and group["state"] == "PENDING":
                _remove(name)
                calm_since = now
        time.sleep(_CALM_SECONDS / 10)


def _remove(name: str) -> None:
    remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(name))))
