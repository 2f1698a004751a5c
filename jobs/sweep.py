"""Sweep a search space on Ray Tune: equal steps are done once, budgets of one model share chains.

Examples:
    python -m jobs.sweep experiment=data_size_demo
    python -m jobs.sweep experiment=data_size --dry

Output:
    <storage>/sweep/<run>/: results.json with every point of the search space, and report.html.
"""

from s1ray.config.recipe import Recipe
from s1ray.orchestration.launch import launch_with_overrides
from s1ray.orchestration.sweeps.plan import SweepPlan, prepare_sweep
from s1ray.orchestration.sweeps.sweep import run_sweep

if __name__ == "__main__":
    launch_with_overrides(
        doc=__doc__ or "",
        primary="recipe",
        schema=Recipe,
        prepare=prepare_sweep,
        run=run_sweep,
        list_steps=SweepPlan.list_steps,
    )
