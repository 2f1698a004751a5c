"""``jobs.plan``: a fine-tune on paper, before anything is spent."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from huggingface_hub import hf_hub_download

from s1ray.config.recipe import Recipe
from s1ray.curation.traces import read_traces
from s1ray.model_source.resolve import HUB_ID
from s1ray.orchestration.fine_tune.train import describe_job, prepare_train
from s1ray.orchestration.models import prepare_model
from s1ray.orchestration.run_directory.runs import make_directory, refuse_unwritable, write_json
from s1ray.orchestration.stage import name_stage
from s1ray.orchestration.terminal import say, show_table
from s1ray.planning.cluster import read_cluster
from s1ray.planning.model import read_shape
from s1ray.planning.plan import Plan, Row, list_rows, make_plan
from s1ray.planning.recipe import draw_lengths, read_recipe
from s1ray.training.fine_tune import tokenize_for

PLAN = "plan.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedPlan:
    """A plan, made; nothing is started by showing it."""

    recipe: Recipe
    plan: Plan


def prepare_plan(recipe: Recipe) -> PreparedPlan:
    """Make the plan.

    Raises:
        ValueError: The model's shape cannot be had, or degrees do not fit it or the cluster.
    """
    lengths = read_lengths(recipe)
    plan = make_plan(
        read_shape(read_model_config(recipe)),
        read_cluster(recipe.cluster),
        read_recipe(
            recipe.training,
            recipe.sharding,
            lengths=lengths,
            assumptions=recipe.planning.assumptions,
        ),
        config=recipe.planning,
    )
    return PreparedPlan(recipe=recipe, plan=plan)


def read_lengths(recipe: Recipe) -> Sequence[int]:
    """Return the tokens of each sample: of the traces where they are here, else as published.

    Raises:
        ValueError: Traces are named and cannot be read.
    """
    if not _is_on_hub(recipe.model.source):
        training = prepare_train(recipe)
        if training.traces_path.exists():
            say(f"lengths: read from {training.traces_path}")
            traces = read_traces(training.traces_path)
            # A plan leaves nothing behind.
            job = replace(describe_job(training), token_cache=None)
            examples = tokenize_for(job, traces).examples
            return [len(example.input_ids) for example in examples]
    say(f"lengths: like {recipe.planning.unread_lengths}'s, as published; no traces are here yet")
    return draw_lengths(recipe.planning.report_lengths[recipe.planning.unread_lengths])


def _is_on_hub(source: str) -> bool:
    return HUB_ID.fullmatch(source) is not None and not Path(source).is_dir()


def read_model_config(recipe: Recipe) -> Mapping[str, object]:
    """Return the model's config.json: known here, local, or from the hub; no weights of hub models.

    Raises:
        ValueError: It cannot be had.
    """
    source = recipe.model.source
    if source in recipe.planning.known_models:
        return recipe.planning.known_models[source]
    if _is_on_hub(source):
        try:
            path = Path(hf_hub_download(source, "config.json", revision=recipe.model.revision))
        except OSError as error:
            raise ValueError(
                f"the shape of {source} is neither in planning.known_models nor to be had from "
                f"the hub: {error}. Add its config.json's sizes to planning.known_models."
            ) from error
    else:
        path = prepare_model(recipe.model, recipe.paths).path / "config.json"
    content: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return content


def run_plan(prepared: PreparedPlan) -> Path:
    """Print the plan, keep it as ``plan.json`` and return its directory, whether or not it fits."""
    rows = list_rows(prepared.plan)
    for section, group in groupby(rows, key=lambda row: row.section):
        show_table(section, [_describe(row) for row in group])
    recipe = prepared.recipe
    identity = {
        "model": recipe.model.source,
        "training": recipe.training.model_dump(mode="json"),
        "sharding": recipe.sharding.model_dump(mode="json"),
        "cluster": recipe.cluster.model_dump(mode="json"),
        "planning": recipe.planning.model_dump(mode="json"),
    }
    run = name_stage(recipe, stage="plan", slug=recipe.name, identity=identity)
    make_directory(run)
    content = [
        {"section": row.section, "name": row.name, "value": row.value, "note": row.note}
        for row in rows
    ]
    with refuse_unwritable(run):
        write_json(run.path / PLAN, {"fits": prepared.plan.fits, "rows": content})
    return run.path


def _describe(row: Row) -> dict[str, str]:
    return {"": row.name, "value": row.value, "note": row.note}
