"""Evaluate a model at every budget on Ray Serve replicas; results stream as they come.

python -m jobs.evaluate experiment=demo
"""

from s1ray.config.recipe import Recipe
from s1ray.orchestration.evaluate import prepare_evaluate, run_evaluate
from s1ray.orchestration.launch import launch

if __name__ == "__main__":
    launch(
        doc=__doc__ or "",
        primary="recipe",
        schema=Recipe,
        prepare=prepare_evaluate,
        run=run_evaluate,
    )
