"""Kill a fine-tune, let it go on, and compare with one that was not: bit-equal, or what differs.

Examples:
    python -m jobs.verify_resume experiment=tiny

Output:
    <storage>/verify_resume/<run>/results.json: a verdict for every kill; exit code 1 where a
    resumed run ended differently.
"""

from s1ray.config.recipe import Recipe
from s1ray.orchestration.fine_tune.verification import prepare_verification, run_verification
from s1ray.orchestration.launch import launch

if __name__ == "__main__":
    launch(
        doc=__doc__ or "",
        primary="recipe",
        schema=Recipe,
        prepare=prepare_verification,
        run=run_verification,
    )
