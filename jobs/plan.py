"""Plan a fine-tune on paper: memory per GPU, step time, hours, dollars, and what to change.

python -m jobs.plan experiment=s1_32b
"""

from s1ray.config.recipe import Recipe
from s1ray.orchestration.launch import launch
from s1ray.orchestration.plan import prepare_plan, run_plan

if __name__ == "__main__":
    launch(doc=__doc__ or "", primary="recipe", schema=Recipe, prepare=prepare_plan, run=run_plan)
