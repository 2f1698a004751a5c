"""Fine-tune a model on the selected traces with FSDP on Ray Train.

python -m jobs.train experiment=demo
"""

from s1ray.config.recipe import Recipe
from s1ray.orchestration.launch import launch
from s1ray.orchestration.train import prepare_train, run_train

if __name__ == "__main__":
    launch(doc=__doc__ or "", primary="recipe", schema=Recipe, prepare=prepare_train, run=run_train)
