"""Recipes as a command line would compose them, and a trace to train one on."""

from pathlib import Path

from hydra import compose, initialize_config_dir

from s1ray.config.recipe import Recipe
from s1ray.orchestration.launch import CONF, parse_config

TRACE = (
    '{"question": {"id": "q", "text": "1 + 1?", "answer": "2", "answer_kind": "integer", '
    '"source": "made", "domain": null, "solution": null}, "thinking": "2", "answer": "2", '
    '"teacher": "made", "is_correct": true}'
)


def compose_recipe(*overrides: str) -> Recipe:
    """The recipe of a command line."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("recipe", overrides=list(overrides))
    return parse_config(composed, Recipe)


def compose_tiny(storage: Path, *overrides: str) -> Recipe:
    """experiment=tiny with overrides, its runs below a directory."""
    return compose_recipe("experiment=tiny", f"paths.storage={storage}", *overrides)


def write_traces(directory: Path) -> Path:
    traces = directory / "traces.jsonl"
    traces.write_text(TRACE + "\n", encoding="utf-8")
    return traces
