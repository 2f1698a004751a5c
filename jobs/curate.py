"""Select the training set: pool rows to reasoning traces, with a count after every step.

Examples:
    python -m jobs.curate experiment=demo
    python -m jobs.curate experiment=s1k pool.root=../shared/data/pool

Output:
    <storage>/curate/<run>/: selected.jsonl, rejected.jsonl with the evidence, funnel.json,
    card.json and card.md.
"""

from s1ray.config.recipe import Recipe
from s1ray.orchestration.launch import launch
from s1ray.orchestration.training_data.curate import CurationPlan, prepare_curate, run_curate

if __name__ == "__main__":
    launch(
        doc=__doc__ or "",
        primary="recipe",
        schema=Recipe,
        prepare=prepare_curate,
        run=run_curate,
        list_steps=CurationPlan.list_steps,
    )
