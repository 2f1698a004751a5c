"""Whether a fine-tune fits its hardware, asked before the hardware is held.

It plans the run as ``jobs.plan`` does, with the lengths of the very traces that it trains on.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from s1ray.config.recipe import Recipe
from s1ray.orchestration.run_directory.runs import RefusedError
from s1ray.orchestration.terminal import complain, say
from s1ray.planning.cluster import read_cluster
from s1ray.planning.model import read_shape
from s1ray.planning.plan import Plan, make_plan, refuse_misfit
from s1ray.planning.recipe import read_recipe


def plan_fit(recipe: Recipe, *, model_path: Path, lengths: Sequence[int]) -> Plan | None:
    """Return a fine-tune's plan; refuse what does not fit, or only say so (``planning.misfit``).

    A model or a machine that the plan does not know is no reason to refuse; that is said.

    Args:
        recipe: What is to be trained, and on what.
        model_path: A local Hugging Face directory.
        lengths: Tokens of each sample.

    Returns:
        None where there can be no plan.

    Raises:
        RefusedError: It does not fit; the message names what is needed and a change that helps.
    """
    if recipe.cluster.device != recipe.sharding.device:
        told = f"cluster={recipe.cluster.name} describes {recipe.cluster.device}"
        say(f"not planned: {told}, the run is on {recipe.sharding.device}; choose cluster= for it")
        return None
    try:
        shape = read_shape(json.loads((model_path / "config.json").read_text(encoding="utf-8")))
    except ValueError as error:
        say(f"not planned: {error}")
        return None
    plan = None
    try:
        asked = read_recipe(
            recipe.training,
            recipe.sharding,
            lengths=lengths,
            assumptions=recipe.planning.assumptions,
        )
        plan = make_plan(shape, read_cluster(recipe.cluster), asked, config=recipe.planning)
        refuse_misfit(plan)
    except ValueError as error:
        if recipe.planning.misfit == "refuse":
            raise RefusedError(f"{error} planning.misfit=warn trains all the same.") from error
        complain(f"trained all the same (planning.misfit=warn): {error}")
    return plan
