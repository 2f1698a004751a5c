"""The choices of conf/ as Hydra composes them, each by itself."""

from functools import cache
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

# Not the jobs' own, which brings torch: a grader must be seen to do without.
CONF = Path(__file__).parents[1] / "conf"


@cache
def _compose(group: str, choice: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(overrides=[f"+{group}={choice}"])


def read_choice(group: str, choice: str) -> dict[str, Any]:
    """Return the content of conf/<group>/<choice>.yaml over whatever it builds on."""
    section = OmegaConf.select(_compose(group, choice), group.replace("/", "."))
    return cast(dict[str, Any], OmegaConf.to_container(section, resolve=True))
