"""The part of a cluster that Ray holds for a run's workers, given back also after a kill.

Ray Train leaves that to a helper that asks the dashboard whether its controller is alive: where no
dashboard runs, as on a Ray of our own, what a killed controller held would be held for as long as
the Ray lives. So the workers note it in the run's directory, whose one writer may free it.
"""

from pathlib import Path

from ray import PlacementGroupID
from ray.util.placement_group import (
    PlacementGroup,
    get_current_placement_group,
    placement_group_table,
    remove_placement_group,
)

PLACEMENT = "placement.txt"


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
        remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(name))))
    noted.unlink()
