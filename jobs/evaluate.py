"""Evaluate a model at every budget on Ray Serve replicas; results stream as they come.

Examples:
    python -m jobs.evaluate experiment=demo
    python -m jobs.evaluate experiment=demo target=trained budget.max_thinking_tokens=[0,32,null]
    python -m jobs.evaluate experiment=s1_32b target=runs/train/RUN/export

Output:
    <storage>/evaluate/<run>/: samples.jsonl with every answer, results.json with every
    accuracy; its table.
"""

from s1ray.config.recipe import Recipe
from s1ray.orchestration.answering.evaluate import TargetPlan, prepare_evaluate, run_evaluate
from s1ray.orchestration.launch import launch

if __name__ == "__main__":
    launch(
        doc=__doc__ or "",
        primary="recipe",
        schema=Recipe,
        prepare=prepare_evaluate,
        run=run_evaluate,
        list_steps=TargetPlan.list_steps,
    )
