"""Recipes as a command line would compose them."""

from pathlib import Path

from hydra import compose, initialize_config_dir

from s1ray.config.recipe import Recipe
from s1ray.orchestration.launch import CONF, parse_config


def compose_tiny(storage: Path, *overrides: str) -> Recipe:
    """experiment=tiny with overrides, its runs below a directory."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose(
            "recipe", overrides=["experiment=tiny", f"paths.storage={storage}", *overrides]
        )
    return parse_config(composed, Recipe)
