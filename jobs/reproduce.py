"""The whole recipe: curate, evaluate the base model, train, evaluate at every budget, report.

python -m jobs.reproduce experiment=demo
"""

from s1ray.config.recipe import Recipe
from s1ray.orchestration.launch import launch
from s1ray.orchestration.reproduce import prepare_reproduce, run_reproduce

if __name__ == "__main__":
    launch(
        doc=__doc__ or "",
        primary="recipe",
        schema=Recipe,
        prepare=prepare_reproduce,
        run=run_reproduce,
    )
