"""Fine-tune a model on the selected traces with FSDP on Ray Train.

Examples:
    python -m jobs.train experiment=demo
    python -m jobs.train experiment=tiny paths.storage=elsewhere
    python -m jobs.train experiment=demo traces=mine.jsonl

Output:
    <storage>/train/<run>/: checkpoints/, events.jsonl, and export/, a Hugging Face model
    directory.
"""

from s1ray.config.recipe import Recipe
from s1ray.orchestration.fine_tune.train import TrainPlan, prepare_train, run_train
from s1ray.orchestration.launch import launch

if __name__ == "__main__":
    launch(
        doc=__doc__ or "",
        primary="recipe",
        schema=Recipe,
        prepare=prepare_train,
        run=run_train,
        list_steps=TrainPlan.list_steps,
    )
