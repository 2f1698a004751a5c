"""Plan a fine-tune on paper: memory per GPU, step time, hours, dollars, and what to change.

Examples:
    python -m jobs.plan experiment=s1_32b
    python -m jobs.plan experiment=s1_32b cluster=h100_1x8 sharding=h100_8
    python -m jobs.plan experiment=demo traces=mine.jsonl

Output:
    Tables of memory, time and cost, all projections, and <storage>/plan/<run>/plan.json, whose
    `fits` says whether the run does.
"""

from s1ray.config.recipe import Recipe
from s1ray.orchestration.launch import launch
from s1ray.orchestration.plan import prepare_plan, run_plan

if __name__ == "__main__":
    launch(doc=__doc__ or "", primary="recipe", schema=Recipe, prepare=prepare_plan, run=run_plan)
