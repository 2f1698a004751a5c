"""``jobs.plan``: a fine-tune on paper, before anything is spent."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

from huggingface_hub import hf_hub_download

from s1ray.config.curation import FullSelectionConfig
from s1ray.config.recipe import Recipe
from s1ray.curation.traces import read_traces
from s1ray.model_source.resolve import HUB_ID, fetch_tokenizer, is_fetched
from s1ray.orchestration.models import prepare_model
from s1ray.orchestration.run_directory.runs import make_directory, refuse_unwritable, write_json
from s1ray.orchestration.stage import name_stage
from s1ray.orchestration.terminal import say, show_table
from s1ray.orchestration.training_data.curate import SELECTED, prepare_curate
from s1ray.planning.cluster import read_cluster
from s1ray.planning.model import read_shape
from s1ray.planning.plan import Plan, Row, list_rows, make_plan
from s1ray.planning.recipe import draw_lengths, read_recipe
from s1ray.training.fine_tune import tokenize_with

PLAN = "plan.json"
Published = Literal["s1k", "r1"]
"""A key of ``planning.report_lengths``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Tokens of each sample, and where they were found."""

    tokens: tuple[int, ...]
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedPlan:
    """A plan, made; nothing is started by showing it."""

    recipe: Recipe
    plan: Plan
    lengths: Lengths


def prepare_plan(recipe: Recipe) -> PreparedPlan:
    """Make the plan.

    Raises:
        ValueError: The model's shape or the samples' lengths cannot be had, or degrees do not fit
            the model or the cluster.
    """
    lengths = read_lengths(recipe)
    plan = make_plan(
        read_shape(read_model_config(recipe)),
        read_cluster(recipe.cluster),
        read_recipe(
            recipe.training,
            recipe.sharding,
            lengths=lengths.tokens,
            assumptions=recipe.planning.assumptions,
        ),
        config=recipe.planning,
    )
    return PreparedPlan(recipe=recipe, plan=plan, lengths=lengths)


def read_lengths(recipe: Recipe) -> Lengths:
    """Return the tokens of each sample: of the traces where they are here, else as published.

    Raises:
        ValueError: Traces are named and cannot be read, or nothing says how long they are.
    """
    published = _find_published(recipe)
    path = _find_traces(recipe, is_needed=published is None)
    if path is not None:
        lengths = Lengths(tokens=_count_tokens(recipe, path), told=f"read from {path}")
    elif published is not None:
        lengths = _assume_lengths(recipe, published)
    else:
        raise ValueError(
            "nothing says how long these samples are: their traces are not here, and no entry of "
            "planning.report_lengths has their origin. Curate first (python -m jobs.curate with "
            "the same overrides), name a file of traces (traces=FILE), or, where they are like "
            "s1K's, set planning.unread_lengths=s1k."
        )
    say(f"lengths: {lengths.told}")
    return lengths


def _find_published(recipe: Recipe) -> Published | None:
    """Return whose published lengths are this recipe's: as it says, else by its pool's origin."""
    if recipe.planning.unread_lengths is not None:
        return recipe.planning.unread_lengths
    origins = {source.origin for source in recipe.pool.sources.values()}
    known = recipe.planning.report_lengths.items()
    return next((name for name, lengths in known if origins == {lengths.origin}), None)


def _assume_lengths(recipe: Recipe, name: Published) -> Lengths:
    """Return published lengths, as many as the selection takes."""
    config = recipe.planning.report_lengths[name]
    if not isinstance(recipe.selection, FullSelectionConfig):
        config = config.model_copy(update={"num_samples": recipe.selection.num_questions})
    told = f"like {name}'s, as published, {config.num_samples:,} samples; no traces are read"
    return Lengths(tokens=draw_lengths(config), told=told)


def _find_traces(recipe: Recipe, *, is_needed: bool) -> Path | None:
    """Return the traces that are named or curated; None where none are here.

    Only a curation's name says where its traces lie, and the name needs the model's digest.

    Args:
        recipe: What would be trained.
        is_needed: Whether to refuse a curation that cannot be named; otherwise it is said.

    Raises:
        ValueError: It cannot be named.
    """
    if recipe.traces is not None:
        return Path(recipe.traces).expanduser().absolute()
    model = recipe.model
    if _is_on_hub(model.source) and not is_fetched(model.source, revision=model.revision):
        say(f"no curated traces are looked for: their run's name needs {model.source}, not here")
        return None
    try:
        run = prepare_curate(recipe).run
    except ValueError as error:
        if is_needed:
            raise
        say(f"no curated traces are looked for: {error}")
        return None
    return run.path / SELECTED if run.is_finished else None


def _count_tokens(recipe: Recipe, path: Path) -> tuple[int, ...]:
    """Return the tokens of each trace; of a hub's model the tokenizer alone is fetched."""
    model, traces = recipe.model, read_traces(path)
    if _is_on_hub(model.source):
        directory = fetch_tokenizer(model.source, revision=model.revision, on_progress=say)
    else:
        directory = prepare_model(model, recipe.paths).path
    examples = tokenize_with(traces, model=model, path=directory, training=recipe.training)
    return tuple(len(example.input_ids) for example in examples.examples)


def _is_on_hub(source: str) -> bool:
    return HUB_ID.fullmatch(source) is not None and not Path(source).expanduser().is_dir()


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
    for advice in prepared.plan.advice:
        # A table may fold it, and a fold cannot be copied.
        say(f"  to try: {advice.words}")
    recipe = prepared.recipe
    identity = {
        "model": recipe.model.source,
        "training": recipe.training.model_dump(mode="json"),
        "sharding": recipe.sharding.model_dump(mode="json"),
        "cluster": recipe.cluster.model_dump(mode="json"),
        "planning": recipe.planning.model_dump(mode="json"),
        "lengths": prepared.lengths.tokens,
    }
    run = name_stage(recipe, stage="plan", slug=recipe.name, identity=identity)
    make_directory(run)
    content = [
        {"section": row.section, "name": row.name, "value": row.value, "note": row.note}
        for row in rows
    ]
    with refuse_unwritable(run):
        told = {"fits": prepared.plan.fits, "lengths": prepared.lengths.told, "rows": content}
        write_json(run.path / PLAN, told)
    return run.path


def _describe(row: Row) -> dict[str, str]:
    return {"": row.name, "value": row.value, "note": row.note}
