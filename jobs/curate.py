"""Select the training set: pool rows to reasoning traces, with a count after every step.

python -m jobs.curate experiment=demo
"""

from s1ray.config.recipe import Recipe
from s1ray.orchestration.curate import prepare_curate, run_curate
from s1ray.orchestration.launch import launch

if __name__ == "__main__":
    launch(
        doc=__doc__ or "", primary="recipe", schema=Recipe, prepare=prepare_curate, run=run_curate
    )
