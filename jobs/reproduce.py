"""The whole recipe: evaluate the base model, curate, train, evaluate at every budget, report.

Examples:
    python -m jobs.reproduce experiment=demo
    python -m jobs.reproduce experiment=demo training.num_epochs=2 budget.num_waits=[1]

Output:
    <storage>/reproduce/<run>/: results.json, report.html and its figures; runs/latest
    points at it.
"""

from s1ray.config.recipe import Recipe
from s1ray.orchestration.launch import launch
from s1ray.orchestration.reproduce import ReproducePlan, prepare_reproduce, run_reproduce

if __name__ == "__main__":
    launch(
        doc=__doc__ or "",
        primary="recipe",
        schema=Recipe,
        prepare=prepare_reproduce,
        run=run_reproduce,
        list_steps=ReproducePlan.list_steps,
    )
