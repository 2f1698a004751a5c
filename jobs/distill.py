"""Ask a teacher for reasoning traces of the curated questions; a rerun asks only what is missing.

Examples:
    python -m jobs.distill experiment=s1k pool.root=../shared/data/pool endpoint=deepseek
    python -m jobs.distill experiment=s1k questions=mine.jsonl endpoint=vllm

Output:
    <storage>/distill/<run>/: traces.jsonl to train on (traces=FILE), each graded;
    left_out.json, and costs.json.
"""

from s1ray.config.recipe import Recipe
from s1ray.orchestration.launch import launch
from s1ray.orchestration.training_data.distill import DistillPlan, prepare_distill, run_distill

if __name__ == "__main__":
    launch(
        doc=__doc__ or "",
        primary="recipe",
        schema=Recipe,
        prepare=prepare_distill,
        run=run_distill,
        list_steps=DistillPlan.list_steps,
    )
