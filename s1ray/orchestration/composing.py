"""Configurations that are composed inside a job, as a command line would compose them."""

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from s1ray.config.recipe import Recipe
from s1ray.orchestration.launch import CONF, parse_config
from s1ray.orchestration.mistakes import explain_override

RECIPE = "recipe"
"""The primary configuration of every stage."""


def compose_config(primary: str, overrides: Sequence[str]) -> DictConfig:
    """Return a primary configuration of ``conf/`` under overrides.

    Raises:
        ValueError: An override names no key or group.
    """
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose(primary, overrides=list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(explain_override(error)) from None


def compose_recipe(overrides: Sequence[str]) -> Recipe:
    """Return the recipe that a command line's overrides describe.

    Raises:
        ValueError: They describe none.
    """
    return parse_config(compose_config(RECIPE, overrides), Recipe)


def spell_paths(*, storage: str | Path, cache: str | None) -> list[str]:
    """Return overrides that set a recipe's paths, whatever characters are in them."""
    return [
        f"paths.storage={_quote(str(storage))}",
        f"paths.cache={'null' if cache is None else _quote(cache)}",
    ]


def _quote(text: str) -> str:
    return QuotedString(text=text, quote=Quote.single).with_quotes()
